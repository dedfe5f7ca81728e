// Rows of the operator's tables: which are shown, in which order, and of which answer.

/**
 * @typedef {string | {text?: string, small?: string, wide?: boolean, code?: boolean, buttons?: {label: string, about: string, act: () => unknown}[]}} Cell
 * @typedef {{key: string, level?: string, cells: Cell[], by?: Record<number, number | null>}} Row `by`: what a column is ordered by that shows a number in words
 */

const textOf = (/** @type {Cell | undefined} */ cell) => (typeof cell === 'string' ? cell : `${cell?.text ?? ''} ${cell?.small ?? ''}`.trim());

/** Those that have all of the words, in any case. @param {Row[]} rows @param {string} words */
export function matching(rows, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length) return rows;
  return rows.filter(({ cells }) => {
    const text = cells.map(textOf).join('\n').toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

const order = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

/** @returns {number | string | null} null for what is not known */
function value(/** @type {Row} */ { by = {}, cells }, /** @type {number} */ column) {
  if (column in by) return by[column];
  const text = textOf(cells[column]);
  return text === '' || text === '–' ? null : text;
}

/** By a column, and as they come where it has the same; what is not known comes last. @param {Row[]} rows @param {number} column @param {boolean} down from the greatest on */
export function sorted(rows, column, down) {
  return [...rows].sort((first, second) => {
    const [one, other] = [value(first, column), value(second, column)];
    if (one === null || other === null) return Number(one === null) - Number(other === null);
    const found = typeof one === 'number' && typeof other === 'number' ? one - other : order.compare(String(one), String(other));
    return down ? -found : found;
  });
}

/** What shows an answer, but only that to the last question: an earlier one may come late. @template Answer @param {() => Promise<Answer>} question @param {(answer: Answer) => unknown} show */
export function latest(question, show) {
  let last = 0;
  return async () => {
    const mine = last += 1;
    const answer = await question();
    if (mine === last) show(answer);
  };
}
