// A table from a file that a program wrote: its beginning, fetched and drawn within bounds.
import { parseTable } from '../core/csv.js';
import { unanswered } from '../core/remote.js';
import { texts } from '../core/texts.js';
import { el } from './dom.js';

// More than a screen shows, and parsed in milliseconds.
const MAX_BYTES = 256 * 1024;

/** @param {unknown} error @returns {never} */
const failed = (error) => { throw unanswered(error); };

/** @returns {Promise<{text: string, whole: boolean}>} the beginning of an address's content */
async function beginning(/** @type {string} */ url) {
  const answer = await fetch(url, { headers: { Range: `bytes=0-${MAX_BYTES - 1}` } }).catch(failed);
  // 416: the file is empty, so no range of it exists.
  if (answer.status === 416) return { text: '', whole: true };
  if (!answer.ok) throw new Error(texts.session.answered(answer.status));
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(failed);
    if (done) break;
    size += value.length;
    text += decoder.decode(value, { stream: true });
    // A server may ignore the range and send everything.
    if (size >= MAX_BYTES) {
      reader.cancel().catch(() => {});
      break;
    }
  }
  return { text, whole: size < MAX_BYTES };
}

/** @param {string} url @param {{rows: number, columns: number}} most if not all are wanted */
export async function drawTable(url, most = { rows: Infinity, columns: Infinity }) {
  const { rows, more } = await beginning(url).then(({ text, whole }) => parseTable(text, { whole }));
  const cells = (/** @type {string[]} */ row, /** @type {'td' | 'th'} */ kind) => row.slice(0, most.columns).map((text) => el(kind, { textContent: text }));
  const [head = [], ...body] = rows.slice(0, most.rows);
  // A column whose cells are all numbers is aligned to the right.
  const numeric = (/** @type {number} */ at) => body.length > 0 && body.every((row) => /^\s*(-?[\d.,]+([eE][+-]?\d+)?)?\s*$/.test(row[at] ?? ''));
  const table = el('table', { className: 'table' }, el('thead', {}, el('tr', {}, ...cells(head, 'th'))), el('tbody', {}, ...body.map((row) => el('tr', {}, ...cells(row, 'td')))));
  head.forEach((_, at) => {
    if (numeric(at)) for (const row of table.rows) row.cells[at]?.classList.add('number');
  });
  return { table, rows: rows.length, more };
}
