// Menus: popovers placed under the button that opens them. The arrow keys are handled by a library, which takes hidden
// items into account.
import { FocusKeys, focusZone } from '../dist/focus.js';
import { el, focusQuietly } from './dom.js';

const GAP = 6;

/**
 * @typedef {{label: string, act(event?: Event): unknown, note?: string, checked?: boolean, disabled?: boolean, bad?: boolean, dot?: string | null}} Command
 *   `checked` undefined: a plain item; true or false: one of several, of which one is selected
 */

function place(/** @type {HTMLElement} */ menu, /** @type {Element} */ anchor) {
  const at = anchor.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  // To the left where there is no room on the right; above where there is none below.
  const left = at.left + width > innerWidth - 8 ? at.right - width : at.left;
  menu.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  const below = at.bottom + GAP;
  menu.style.top = `${below + height > innerHeight - 8 ? Math.max(8, at.top - height - GAP) : below}px`;
}

/** The item of `all` that begins with a typed letter, searched from the one after `at` on. @param {HTMLElement[]} all @param {number} at @param {KeyboardEvent} event */
export function byLetter(all, at, { key, ctrlKey, metaKey, altKey }) {
  if (key.length !== 1 || key === ' ' || ctrlKey || metaKey || altKey) return undefined;
  const letter = key.toLowerCase();
  return [...all.slice(at + 1), ...all.slice(0, at + 1)].find((one) => (one.ariaLabel ?? one.textContent ?? '').trim().toLowerCase().startsWith(letter));
}

const ITEM = '[role^="menuitem"]:not(:disabled)';
/** @param {HTMLElement} menu */
const items = (menu) => [.../** @type {NodeListOf<HTMLElement>} */ (menu.querySelectorAll(ITEM))].filter((item) => item.checkVisibility());

/** Makes a popover a menu of `button`. @param {HTMLElement} button @param {HTMLElement} menu @param {() => unknown} fill called before each opening */
export function menuOf(button, menu, fill = () => {}) {
  button.setAttribute('aria-expanded', 'false');
  arrows(menu);
  menu.addEventListener('beforetoggle', (event) => event.newState === 'open' && fill());
  /** @type {() => void} */ let again = () => {};
  let last = false; // it was opened by ArrowUp: the last item gets the focus
  menu.addEventListener('toggle', (event) => {
    const open = event.newState === 'open';
    button.setAttribute('aria-expanded', String(open));
    removeEventListener('resize', again);
    if (!open) return;
    place(menu, button);
    again = () => place(menu, button); // the page may be resized while the menu is open
    addEventListener('resize', again);
    const end = last ? items(menu).at(-1) : null;
    last = false;
    /** @type {HTMLElement | null} */ const checked = menu.querySelector('[role="menuitemradio"][aria-checked="true"]');
    /** @type {HTMLElement | null} */ const field = menu.querySelector('input, select, textarea');
    focusQuietly(end ?? checked ?? items(menu)[0] ?? field);
  });
  button.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    event.preventDefault();
    menu.showPopover();
    last = event.key === 'ArrowUp';
  });
}

function arrows(/** @type {HTMLElement} */ menu) {
  // Several buttons may open the same menu.
  if (menu.dataset.arrows) return;
  menu.dataset.arrows = 'on';
  /** @type {AbortController | undefined} */ let zone;
  menu.addEventListener('toggle', (event) => {
    zone?.abort();
    zone = event.newState !== 'open' ? undefined : focusZone(menu, {
      bindKeys: FocusKeys.ArrowVertical | FocusKeys.HomeAndEnd, focusOutBehavior: 'wrap', strict: true,
      focusableElementFilter: (element) => element.matches(ITEM),
    });
  });
  menu.addEventListener('keydown', (event) => {
    if (!menu.matches('[role="menu"]')) return; // a form takes letters, and Tab goes from field to field
    if (event.key === 'Tab') menu.hidePopover(); // and the focus moves on from its button
    const list = items(menu);
    const go = byLetter(list, list.findIndex((one) => one === document.activeElement), event);
    if (!go) return;
    event.preventDefault();
    go.focus();
  });
}

/** @param {Command} command */
export function menuItem({ label, act, note = '', checked, disabled = false, bad = false, dot = null }) {
  const radio = checked !== undefined;
  const item = el('button', { type: 'button', disabled, className: bad ? 'bad' : '', attrs: { role: radio ? 'menuitemradio' : 'menuitem', ...(radio ? { 'aria-checked': checked } : {}) } },
    dot ? el('span', { className: 'dot', attrs: { 'data-tone': dot } }) : null, el('span', { textContent: label }),
    note ? el('span', { className: 'spacer' }) : null, note ? el('span', { textContent: note }) : null);
  item.addEventListener('click', act);
  return item;
}

/** @param {HTMLElement} menu @param {Command[]} entries */
export function fillMenu(menu, entries) {
  menu.replaceChildren(...entries.map((entry) => menuItem({
    ...entry,
    act: () => {
      // Hidden first: the command may open a dialog.
      menu.hidePopover();
      entry.act();
    },
  })));
}

/** Opens a menu at an element that is not its button. @param {HTMLElement} menu @param {Element} anchor @param {Command[]} entries */
export function openMenu(menu, anchor, entries) {
  arrows(menu);
  fillMenu(menu, entries);
  menu.showPopover();
  place(menu, anchor);
  focusQuietly(items(menu)[0]);
}
