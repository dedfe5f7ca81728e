// The tabs of open files. The focused tab is shown; the arrow keys are handled by a library.
import { texts } from '../core/texts.js';
import { FocusKeys, focusZone } from '../dist/focus.js';
import { $, el, first, icon } from './dom.js';

const TAB = '[role="tab"]';

/**
 * Arrow keys, Home and End in a list of tabs, only one of which is reached by the Tab key.
 * @param {HTMLElement} list @param {() => HTMLElement | undefined} current the selected tab
 */
export const tabKeys = (list, current) => focusZone(list, {
  bindKeys: FocusKeys.ArrowHorizontal | FocusKeys.HomeAndEnd, focusOutBehavior: 'wrap', strict: true,
  focusableElementFilter: (element) => element.matches(TAB), focusInStrategy: current,
});

/** @type {AbortController | undefined} */ let zone;

/** @param {import('../core/project.js').Project} project @param {(path: string) => void} choose */
export function drawTabs(project, choose) {
  const { open } = project;
  const chosen = () => first('#tabs [aria-selected="true"]') ?? undefined;
  // The close buttons are beside the tabs and not among them, so the list owns the tabs only.
  const list = el('div', { attrs: { role: 'tablist', 'aria-label': texts.editor.openFiles, 'aria-owns': open.map((_, at) => `tab-${at}`).join(' ') } });
  $('tabs').replaceChildren(...(open.length ? [list] : []), ...open.map((path, at) => {
    const active = path === project.active;
    const name = path.split('/').at(-1) ?? path;
    // Files of the same name are shown with their folders.
    const twin = open.some((other) => other !== path && other.endsWith(`/${name}`));
    const guest = project.guests.has(path);
    const button = el('button', { type: 'button', textContent: twin ? path : name, title: guest ? texts.editor.madeFile(path) : path, id: `tab-${at}`, attrs: { role: 'tab', 'aria-selected': active, 'aria-controls': 'editor', tabindex: active ? 0 : -1 } });
    button.addEventListener('click', () => choose(path));
    button.addEventListener('focus', () => {
      if (path === project.active) return;
      project.show(path);
      // The tabs were redrawn, so the focus is set again.
      chosen()?.focus();
    });
    button.addEventListener('keydown', (event) => event.key === 'Delete' && project.hide(path));
    const close = el('button', { className: 'icon-button', type: 'button', attrs: { 'aria-label': texts.editor.closeFile(path) } }, icon('close'));
    close.addEventListener('click', () => project.hide(path));
    const tab = el('div', { className: guest ? 'tab made' : 'tab', attrs: { role: 'presentation' } }, button, close);
    // The middle button, as in browsers.
    tab.addEventListener('auxclick', (event) => event.button === 1 && project.hide(path));
    if (active) tab.dataset.active = '';
    return tab;
  }));
  $('editor').setAttribute('aria-labelledby', `tab-${Math.max(0, open.indexOf(project.active ?? ''))}`);
  reveal($('tabs'), first('#tabs [data-active]'));
  zone?.abort();
  zone = tabKeys($('tabs'), chosen);
}

/** Scrolls the tabs only: `scrollIntoView` would also change where the Tab key continues. */
/** @param {HTMLElement} tabs @param {HTMLElement | null} tab */
function reveal(tabs, tab) {
  if (!tab) return;
  const [left, right] = [tab.offsetLeft - tabs.offsetLeft, tab.offsetLeft - tabs.offsetLeft + tab.offsetWidth];
  if (left < tabs.scrollLeft) tabs.scrollLeft = left;
  else if (right > tabs.scrollLeft + tabs.clientWidth) tabs.scrollLeft = right - tabs.clientWidth;
}
