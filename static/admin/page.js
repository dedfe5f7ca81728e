// What the sections of the operator's page share: elements, numbers as texts, tables that keep the focus, questions.
import { el } from '../app/dom.js';
import { matching, sorted } from './rows.js';

/** @typedef {import('./rows.js').Row} Row */

/** @returns {any} the element of this id */
export const at = (/** @type {string} */ id) => document.getElementById(id);

export const bytes = (/** @type {number | null} */ count) => {
  if (count === null) return '–';
  let left = count;
  for (const unit of ['B', 'KiB', 'MiB']) {
    if (left < 1000) return `${left < 10 && unit !== 'B' ? left.toFixed(1) : Math.round(left)} ${unit}`;
    left /= 1024;
  }
  return `${left.toFixed(1)} GiB`;
};

export const age = (/** @type {number} */ seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
};

export const ms = (/** @type {number | null | undefined} */ value) => {
  if (value === null || value === undefined) return '–';
  return value < 1000 ? `${value < 10 ? value.toFixed(1) : Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
};

export const clock = (/** @type {number} */ seconds) => new Date(seconds * 1000).toLocaleString();

/** Figures with their names, as a description list. @param {string} id @param {[string, string | number][]} rows */
export function tiles(id, rows) {
  const list = at(id);
  const text = JSON.stringify(rows);
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.replaceChildren(...rows.map(([name, value]) => el('div', {}, el('dt', { textContent: name }), el('dd', { textContent: String(value) }))));
}

/** The tables with a filter, by the id of their body, and what its user wants of them. @type {Map<string, {rows: Row[], words: string, column: number | null, down: boolean}>} */
const wanted = new Map();

/** Fills a table's body, with what fits its filter, in the order that its user has chosen. @param {string} id @param {Row[]} rows */
export function fill(id, rows) {
  const how = wanted.get(id);
  if (!how) {
    put(id, rows);
    return;
  }
  how.rows = rows;
  const left = matching(rows, how.words);
  at(`${id}-none`).hidden = left.length > 0 || rows.length === 0;
  put(id, how.column === null ? left : sorted(left, how.column, how.down));
}

/** A row that is as it was stays: the focus in it and a selection are kept. */
function put(/** @type {string} */ id, /** @type {Row[]} */ rows) {
  const body = at(id);
  const names = [...body.parentElement.querySelectorAll('thead th')].map((head) => head.textContent);
  const before = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const made = rows.map((row) => {
    const text = JSON.stringify(row.cells);
    const old = before.get(row.key);
    if (old?.dataset.shown === text) return old;
    const tr = el('tr', { attrs: { role: 'row' } }, ...row.cells.map(cell));
    // Where a row is shown as a block (admin.css), each cell has its column's name beside it.
    for (const [index, td] of [...tr.cells].entries()) td.dataset.label = names[index] ?? undefined;
    if (row.level) tr.dataset.level = row.level;
    tr.dataset.key = row.key;
    tr.dataset.shown = text;
    if (old) keepButtons(old, tr);
    return tr;
  });
  if (made.length === body.children.length && made.every((row, index) => row === body.children[index])) return;
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  body.replaceChildren(...made);
  if (focused && body.contains(focused)) /** @type {HTMLElement} */ (focused).focus();
}

/** Moves the buttons of the old row into the new one, so that a click or the focus is not lost while figures change. */
function keepButtons(/** @type {HTMLElement} */ old, /** @type {HTMLElement} */ made) {
  const [was, is] = [old.querySelector('td.actions'), made.querySelector('td.actions')];
  if (was && is && was.textContent === is.textContent) is.replaceWith(was);
}

function cell(/** @type {any} */ told) {
  if (typeof told === 'string') return el('td', { textContent: told, attrs: { role: 'cell' } });
  const td = el('td', { attrs: { role: 'cell' }, className: told.wide ? 'wide' : told.buttons ? 'actions' : '' });
  if (told.text) td.append(told.code ? el('code', { textContent: told.text }) : told.text);
  if (told.small) td.append(' ', el('small', { textContent: told.small }));
  for (const { label, about, act } of told.buttons ?? []) {
    td.append(el('button', { type: 'button', className: 'text-button', textContent: label, attrs: { 'aria-label': about }, on: { click: act } }));
  }
  return td;
}

/**
 * Asks for a text or a confirmation, then calls `act`; an error of it is shown in the dialog.
 * @param {{title: string, about: string, label: string, ok: string, act: (text: string) => Promise<unknown>}} question
 *   `label`: of the text; "" for a confirmation without a text
 */
export function question({ title, about, label, ok, act }) {
  const dialog = at('ask');
  at('ask-title').textContent = title;
  at('ask-about').textContent = about;
  at('ask-label').textContent = label;
  at('ask-text').value = '';
  at('ask-text').parentElement.hidden = !label;
  at('ask-text').required = Boolean(label);
  at('ask-problem').textContent = '';
  at('ask-ok').textContent = ok;
  at('ask-cancel').onclick = () => dialog.close();
  at('ask-form').onsubmit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    at('ask-ok').disabled = true;
    try {
      await act(at('ask-text').value.trim());
      dialog.close();
    } catch (error) {
      at('ask-problem').textContent = error instanceof Error ? error.message : String(error);
    } finally {
      at('ask-ok').disabled = false;
    }
  };
  dialog.showModal();
}

/** Sets the ARIA roles of tables and their parts, which browsers drop if a narrow page shows rows as blocks (admin.css). */
export function setUpTables() {
  const roles = { table: 'table', thead: 'rowgroup', tbody: 'rowgroup', tr: 'row', th: 'columnheader' };
  for (const [name, role] of Object.entries(roles)) {
    for (const part of document.querySelectorAll(`table.stacked${name === 'table' ? '' : ` ${name}`}`)) part.role = role;
  }
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('input[data-rows]'))) setUpFilter(input);
}

/** A field above a table, which leaves rows out, and buttons in its head, which order them. */
function setUpFilter(/** @type {HTMLInputElement} */ input) {
  const id = input.dataset.rows ?? '';
  /** @type {{rows: Row[], words: string, column: number | null, down: boolean}} */ const how = { rows: [], words: '', column: null, down: false };
  wanted.set(id, how);
  input.addEventListener('input', () => {
    how.words = input.value;
    fill(id, how.rows);
  });
  const heads = /** @type {HTMLElement[]} */ ([...at(id).parentElement.querySelectorAll('thead th')]);
  for (const [column, head] of heads.entries()) {
    if (head.textContent === 'Actions') continue;
    head.replaceChildren(el('button', { type: 'button', textContent: head.textContent, on: { click: () => turn(column) } }));
  }
  /** Upwards, downwards, as the server tells them. */
  function turn(/** @type {number} */ column) {
    if (how.column !== column) Object.assign(how, { column, down: false });
    else if (!how.down) how.down = true;
    else how.column = null;
    for (const [index, head] of heads.entries()) head.ariaSort = index !== how.column ? null : how.down ? 'descending' : 'ascending';
    fill(id, how.rows);
  }
}

/** Shows an error at the top of the page; "" hides it. */
export function problem(/** @type {string} */ text) {
  const box = at('problem');
  box.hidden = !text;
  if (box.textContent !== text) box.textContent = text;
}
