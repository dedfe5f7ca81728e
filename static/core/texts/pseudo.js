// An artificial language for tests, `?lang=qps` in development: each English text is marked and made a third longer, as
// translations are. Text without marks is not in the table; text that is cut off has no room for another language.

/** @param {string} text */
function marked(text) {
  if (!text) return '';
  const more = Math.ceil(text.length / 3);
  return `⟦${text}${'~~~~~~~ '.repeat(more / 8 + 1).slice(0, more).trim()}⟧`; // with spaces, so that it breaks into lines
}

/** @typedef {string | ((...given: unknown[]) => string) | {[key: string]: Table}} Table of texts, or one of them */

/** @param {Table} value @returns {Table} */
function pseudo(value) {
  if (typeof value === 'string') return marked(value);
  if (typeof value === 'function') return (...given) => marked(value(...given));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, pseudo(inner)]));
}

/** @param {import('./en.js').Texts} en @returns {import('./en.js').Texts} */
export const pseudoOf = (en) => /** @type {import('./en.js').Texts} */ ({ .../** @type {object} */ (pseudo(/** @type {Table} */ (/** @type {unknown} */ (en)))), locale: 'en-x-qps' });
