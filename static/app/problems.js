// The diagnostics of compilers and tracebacks: a list under the output, from which users jump to the place.
import { relative } from '../core/locations.js';
import { texts } from '../core/texts.js';
import { $, all, el } from './dom.js';

const MAX_SHOWN = 100;
/** @typedef {import('../core/messages.js').Diagnostic} Diagnostic */
/** @typedef {import('../core/types.js').Place} Place */

/** @type {Record<string, string>} */
const TONES = { error: 'bad', warning: 'warn', info: 'none' };

export class Problems {
  #known;
  #jump;
  #mark;
  /** @type {Diagnostic[]} */ #all = [];
  #at = -1; // index of the one that `step` went to last

  /** @param {{known(path: string): boolean, jump(place: Place): void, mark(all: Diagnostic[]): void}} page `known`: whether a path is in the project */
  constructor({ known, jump, mark }) {
    this.#known = known;
    this.#jump = jump;
    this.#mark = mark;
    $('problems').addEventListener('keydown', (event) => this.#keys(event));
  }

  /** Goes to the next (1) or previous (-1) place in a file of the project. */
  step(/** @type {1 | -1} */ by) {
    // Places in files of libraries cannot be shown.
    const known = this.#all.filter(({ path }) => this.#known(path));
    if (!known.length) return;
    this.#at = (this.#at + (this.#at < 0 && by < 0 ? 0 : by) + known.length) % known.length;
    this.#jump(known[this.#at]);
  }

  clear() {
    this.show([]);
  }

  show(/** @type {Diagnostic[]} */ items) {
    // Tools name files by absolute paths or relative to the workspace.
    const found = items.map((item) => ({ ...item, path: relative(item.path) ?? item.path }));
    this.#all = found;
    this.#at = -1;
    const rows = found.slice(0, MAX_SHOWN).map((item) => this.#row(item));
    const more = found.length - rows.length;
    if (more > 0) rows.push(el('li', { className: 'hint', textContent: texts.problems.more(more) }));
    $('problems-list').replaceChildren(...rows);
    $('problems').hidden = rows.length === 0;
    const errors = found.filter(({ severity }) => severity === 'error').length;
    $('problems-title').textContent = errors ? texts.problems.errors(errors) : texts.problems.remarks(found.length);
    $('part-problems-count').textContent = String(found.length);
    $('part-problems-count').dataset.tone = errors ? 'bad' : 'none';
    this.#mark(found);
  }

  #row(/** @type {Diagnostic} */ item) {
    const { path, line, column, severity, message } = item;
    const where = `${path}:${line}${column ? `:${column}` : ''}`;
    const parts = [
      el('span', { className: 'dot', attrs: { 'data-tone': TONES[severity] ?? 'none', role: 'img', 'aria-label': /** @type {Record<string, string>} */ ({ error: texts.problems.error, warning: texts.problems.warning, info: texts.problems.info })[severity] ?? severity } }),
      el('span', { className: 'where', textContent: where }), el('span', { className: 'what', textContent: message }),
    ];
    // Only a place in a file of the project is a button.
    if (!this.#known(path)) return el('li', {}, el('span', { className: 'problem-row', title: `${where} ${message}` }, ...parts));
    return el('li', {}, el('button', { type: 'button', className: 'problem-row', title: `${where} ${message}`, on: { click: () => this.#jump({ path, line, column }) } }, ...parts));
  }

  #keys(/** @type {KeyboardEvent} */ event) {
    const rows = all('#problems button.problem-row');
    const at = rows.findIndex((row) => row === document.activeElement);
    /** @type {Record<string, HTMLElement | undefined>} */ const ways = { ArrowDown: rows[at + 1], ArrowUp: rows[at - 1], Home: rows[0], End: rows.at(-1) };
    const go = ways[event.key];
    if (!go || at < 0) return;
    event.preventDefault();
    go.focus();
  }
}
