// How a terminal places characters in cells: with the widths that programs in the containers assume, and a limit on
// what one cell can hold.
import { WIDE, ZERO } from './widths.js';

export const MAX_MARKS = 30; // in one cell; a stream-safe text in Unicode's sense (UAX #15) has no more

const table = new Uint8Array(0x110000 / 4).fill(0b01010101); // two bits for each code point
// The ranges are stored as differences, in base 36.
for (const [ranges, width] of /** @type {[string, number][]} */ ([[ZERO, 0], [WIDE, 2]])) {
  const words = ranges.split(' ').map((word) => Number.parseInt(word, 36));
  for (let word = 0, at = 0; word < words.length; word += 2) {
    at += words[word];
    for (const end = at + words[word + 1]; at < end; at += 1) table[at >> 2] = (table[at >> 2] & ~(3 << ((at & 3) * 2))) | (width << ((at & 3) * 2));
  }
}

/** @public tests/browser compares it for all code points @param {number} point @returns {0 | 1 | 2} the cells that it takes by itself */
export const widthOf = (point) => (point < 0x7f ? 1 : /** @type {0 | 1 | 2} */ ((table[point >> 2] >> ((point & 3) * 2)) & 3));

// What xterm.js keeps about a character for the next one: state (the number of marks), width, whether it is joined.
const properties = (/** @type {number} */ state, /** @type {number} */ width, /** @type {boolean} */ joined) => (state << 3) | (width << 1) | Number(joined);
const stateOf = (/** @type {number} */ value) => value >> 3;
const cellsOf = (/** @type {number} */ value) => (value >> 1) & 3;
const ASCII = properties(0, 1, false);

/** A provider for `terminal.unicode.register`. */
export const cells = {
  version: 'containers',
  wcwidth: widthOf,
  charProperties(/** @type {number} */ point, /** @type {number} */ preceding) {
    if (point < 0x7f) return ASCII;
    // A mark without a character before it stands alone.
    const width = widthOf(point);
    if (width > 0 || preceding === 0 || cellsOf(preceding) === 0) return properties(0, width, false);
    const marks = stateOf(preceding) + 1;
    // A further mark starts a cell of its own, so that none grows without bound.
    return marks > MAX_MARKS ? properties(0, 1, false) : properties(marks, cellsOf(preceding), true);
  },
};
