// The texts of the page in the language in use. They are read from here when they are shown, never while a module
// loads, as the language is chosen later (static/app/texts.js).
import { en } from './texts/en.js';

export let texts = en;

/** @param {import('./texts/en.js').Texts} table */
export function useTexts(table) {
  texts = table;
}
