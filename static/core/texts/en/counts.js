// Counts in the English texts.
import { words } from '../words.js';

export const { plural, number } = words('en');

/** @param {number} count */
export const files = (count) => plural(count, { one: '1 file', other: `${number(count)} files` });
