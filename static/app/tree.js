// The tree of files: the user's own, and below them those that programs made.
import { size } from '../core/ending.js';
import { rows } from '../core/tree.js';
import { texts } from '../core/texts.js';
import { FocusKeys, focusZone } from '../dist/focus.js';
import { $, el, first, focusedIn, icon, targetOf } from './dom.js';
import { byLetter } from './menu.js';

const MAX_ROWS = 1000;

/** @typedef {import('../core/tree.js').Row<{path: string, folder?: boolean, size?: number}> & {made: boolean}} Row `made`: made by programs */
/** @typedef {{choose(row: Row): unknown, rename(row: Row): unknown, remove(row: Row): unknown, menu(row: Row, anchor: HTMLElement): unknown}} Acts */
/**
 * @typedef {{own: string[], made: import('../core/types.js').Entry[], complete: boolean, active: string | null, entry: string,
 *   conflicts: ReadonlyMap<string, unknown>}} State `own`: paths; `entry`: the file that runs
 */

export class Tree {
  #on;
  /** @type {Set<string>} */ #closed = new Set(); // folders of the user: open unless closed
  /** @type {Set<string>} */ #opened = new Set(); // folders that programs made: closed unless opened
  /** @type {Map<HTMLElement, Row>} */ #shown = new Map();
  /** @type {State} */ #drawn = { own: [], made: [], complete: true, active: null, entry: '', conflicts: new Map() };
  /** @type {AbortController | undefined} */ #zone; // arrow keys, up and down

  constructor(/** @type {Acts} */ on) {
    this.#on = on;
    $('tree').addEventListener('keydown', (event) => this.#keys(event));
  }

  draw(/** @type {State} */ state) {
    this.#drawn = state;
    // Redrawing must not take the focus; a path may be in both parts of the tree.
    const focused = focusedIn('#tree li');
    const again = focused && [focused.dataset.path ?? focused.dataset.folder, focused.classList.contains('made')];
    this.#shown.clear();
    // In the order of the documentation: own files first.
    const own = rows(state.own.map((path) => ({ path })), (path) => !this.#closed.has(path)).map((row) => ({ ...row, made: false }));
    const made = rows(state.made, (path) => this.#opened.has(path)).map((row) => ({ ...row, made: true }));
    const elements = own.map((row) => this.#row(row));
    if (made.length) {
      elements.push(el('li', { className: 'section', textContent: texts.files.made, attrs: { role: 'none' } }));
      elements.push(...made.slice(0, MAX_ROWS).map((row) => this.#row(row)));
      const hidden = made.length - MAX_ROWS;
      if (hidden > 0 || !state.complete) elements.push(el('li', { className: 'section', textContent: hidden > 0 ? texts.files.andMore(hidden) : texts.files.more, attrs: { role: 'none' } }));
    }
    $('tree').replaceChildren(...elements);
    // Bound to the rows that exist now.
    this.#zone?.abort();
    this.#zone = focusZone($('tree'), {
      bindKeys: FocusKeys.ArrowVertical | FocusKeys.HomeAndEnd, focusableElementFilter: (element) => this.#shown.has(element),
      focusInStrategy: () => first('#tree [aria-selected="true"]') ?? this.#rows[0],
    });
    if (again) [...this.#shown.keys()].find((one) => (one.dataset.path ?? one.dataset.folder) === again[0] && one.classList.contains('made') === again[1])?.focus();
  }

  get #rows() {
    return [...this.#shown.keys()];
  }

  #row(/** @type {Row} */ row) {
    const { path, name, level, folder, open, made, entry } = row;
    const { active, entry: main, own, conflicts } = this.#drawn;
    const selected = path === active && !folder;
    const more = el('button', { className: 'icon-button', type: 'button', tabIndex: -1, attrs: { 'aria-label': texts.files.actions(path) } }, icon('more'));
    const mark = (/** @type {string} */ text, /** @type {string} */ title, /** @type {string} */ kind) => el('span', { className: kind, textContent: text, title });
    const element = el('li', {
      tabIndex: -1, title: path, className: [folder ? 'folder' : '', made ? 'made' : ''].join(' ').trim(),
      attrs: { role: 'treeitem', 'aria-level': level, ...(folder ? { 'aria-expanded': open, 'data-folder': path } : { 'aria-selected': selected, 'data-path': path }) },
    },
    icon(folder ? (open ? 'folder-open' : 'folder') : 'file'), el('span', { className: 'name', textContent: name }),
    !made && main === path && own.length > 1 ? mark(texts.files.run, texts.files.runHint, 'entry') : null,
    !folder && conflicts.has(path) ? mark('!', texts.files.clash, 'clash') : null,
    made && !folder && entry ? mark(size(entry.size ?? 0), '', 'size') : null, more);
    element.style.setProperty('--depth', String(level - 1));
    more.addEventListener('click', (event) => {
      event.stopPropagation();
      this.#on.menu(row, more);
    });
    element.addEventListener('click', () => this.#act(row));
    element.addEventListener('dblclick', () => !folder && this.#on.rename(row));
    element.addEventListener('contextmenu', (event) => {
      event.preventDefault();
      const openMenu = () => this.#on.menu(row, element);
      // While the button is down, releasing it would close the menu as a click beside it.
      if (event.buttons) addEventListener('pointerup', () => setTimeout(openMenu), { once: true });
      else openMenu();
    });
    this.#shown.set(element, row);
    return element;
  }

  #act(/** @type {Row} */ row) {
    if (row.folder) this.#turn(row, !row.open);
    else this.#on.choose(row);
  }

  #turn(/** @type {Row} */ { path, made }, /** @type {boolean} */ open) {
    // One set for each default: open folders of the user, closed ones of programs.
    const set = made ? this.#opened : this.#closed;
    if (open === made) set.add(path);
    else set.delete(path);
    this.draw(this.#drawn);
  }

  #keys(/** @type {KeyboardEvent} */ event) {
    const element = targetOf(event);
    const row = this.#shown.get(element);
    if (!row) return;
    const all = this.#rows;
    const at = all.indexOf(element);
    const go = byLetter(all, at, event);
    if (go) go.focus();
    else if (event.key === 'ArrowRight' && row.folder && !row.open) this.#turn(row, true);
    else if (event.key === 'ArrowLeft' && row.folder && row.open) this.#turn(row, false);
    // To the parent folder: the nearest row above with a lower level.
    else if (event.key === 'ArrowLeft') all.slice(0, at).findLast((one) => (this.#shown.get(one)?.level ?? row.level) < row.level)?.focus();
    else if (event.key === 'Enter' || event.key === ' ') this.#act(row);
    else if (event.key === 'F2') this.#on.rename(row);
    else if (event.key === 'Delete') this.#on.remove(row);
    else if (event.key === 'ContextMenu') this.#on.menu(row, element);
    else return;
    event.preventDefault();
  }
}
