// What the sections of the operator's page share: elements, numbers as texts, tables that keep the focus, questions.
import { el } from '../app/dom.js';

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

/**
 * Fills a table's body. A row that is as it was stays: the focus in it and a selection are kept.
 * @param {string} id
 * @param {{key: string, level?: string, cells: (string | {text?: string, wide?: boolean, code?: boolean, small?: string, buttons?: {label: string, about: string, act: () => unknown}[]})[]}[]} rows
 */
export function fill(id, rows) {
  const body = at(id);
  const names = [...body.parentElement.querySelectorAll('thead th')].map((head) => head.textContent);
  const before = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const wanted = rows.map((row) => {
    const text = JSON.stringify(row.cells);
    const old = before.get(row.key);
    if (old?.dataset.shown === text) return old;
    const made = el('tr', { attrs: { role: 'row' } }, ...row.cells.map(cell));
    // Where a row is shown as a block (admin.css), each cell has its column's name beside it.
    for (const [index, td] of [...made.cells].entries()) td.dataset.label = names[index] ?? undefined;
    if (row.level) made.dataset.level = row.level;
    made.dataset.key = row.key;
    made.dataset.shown = text;
    if (old) keepButtons(old, made);
    return made;
  });
  if (wanted.length === body.children.length && wanted.every((row, index) => row === body.children[index])) return;
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  body.replaceChildren(...wanted);
  if (focused && body.contains(focused)) /** @type {HTMLElement} */ (focused).focus();
}

/** The last cell's buttons of a row that was there: so a click or the focus does not get lost while figures change. */
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
 * Asks for a text, then does something with it; what is refused is told in the dialog.
 * @param {{title: string, about: string, label: string, ok: string, act: (text: string) => Promise<unknown>}} question
 *   `label`: of the text; "" where only a yes is wanted
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

/** Says what the parts of tables are: browsers forget it where a narrow page shows rows as blocks (admin.css). */
export function setUpTables() {
  const roles = { table: 'table', thead: 'rowgroup', tbody: 'rowgroup', tr: 'row', th: 'columnheader' };
  for (const [name, role] of Object.entries(roles)) {
    for (const part of document.querySelectorAll(`table.stacked${name === 'table' ? '' : ` ${name}`}`)) part.role = role;
  }
}

/** Tells of what cannot be done, at the page's top; "" when it is over. */
export function problem(/** @type {string} */ text) {
  const box = at('problem');
  box.hidden = !text;
  if (box.textContent !== text) box.textContent = text;
}
