// The page's language: the one in its address (`?lang=NAME`), otherwise the browser's first one that has a table. The
// texts of index.html are names of entries in the table: `data-text` for an element's content, `data-text-label` and
// others for its attributes. scripts/bundle.mjs has already inserted the English ones.
import { texts, useTexts } from '../core/texts.js';
import { en } from '../core/texts/en.js';
import { all } from './dom.js';

/** Each translation is one line. @type {Record<string, () => Promise<import('../core/texts/en.js').Texts>>} */
const TABLES = {
  en: async () => en,
  qps: () => import('../core/texts/pseudo.js').then(({ pseudoOf }) => pseudoOf(en)),
};
const DEVELOPED = new Set(['qps']); // only by the address, and only if the server is in development
const ATTRIBUTES = { textLabel: 'aria-label', textTitle: 'title', textPlaceholder: 'placeholder' };

const offered = Object.keys(TABLES).filter((one) => !DEVELOPED.has(one) || 'development' in document.documentElement.dataset);
const asked = new URLSearchParams(location.search).get('lang');
const spoken = navigator.languages.map((one) => one.split('-')[0]).find((one) => offered.includes(one) && !DEVELOPED.has(one));
const chosen = asked && offered.includes(asked) ? asked : spoken ?? 'en';
if (chosen !== 'en') useTexts(await TABLES[chosen]().catch(() => en)); // that part of the page did not load

/** @param {string | undefined} name such as `bar.run` @returns {string} */
function find(name = '') {
  const [room, key] = name.split('.');
  const found = /** @type {Record<string, Record<string, unknown>>} */ (/** @type {unknown} */ (texts))[room]?.[key];
  // A name that is missing is found by a test, and not by a user.
  if (typeof found !== 'string') throw new RangeError(`no text ${name}`);
  return found;
}

/** Sets an element's text, with its emphasis (`*...*`). @param {HTMLElement} element @param {string} text */
function put(element, text) {
  element.replaceChildren(...text.split('*').map((part, at) => {
    if (at % 2 === 0) return part;
    const strong = document.createElement('strong');
    strong.textContent = part;
    return strong;
  }));
}

/** Inserts the texts into the markup. */
export function fillMarkup() {
  document.documentElement.lang = texts.locale;
  for (const element of all('[data-text]')) put(element, find(element.dataset.text));
  for (const [data, attribute] of Object.entries(ATTRIBUTES)) {
    for (const element of all(`[data-text-${data.slice(4).toLowerCase()}]`)) element.setAttribute(attribute, find(element.dataset[data]));
  }
}
