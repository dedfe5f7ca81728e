// Makes places in the project's files links in a terminal.
import { locations } from '../core/locations.js';

const MAX_ROWS = 30; // rows of one line that the terminal wrapped

/**
 * @param {import('@xterm/xterm').Terminal} term
 * @param {{paths(): string[], jump(place: import('../core/types.js').Place): void}} page `paths`: the files that are known
 */
export function linkLocations(term, { paths, jump }) {
  return term.registerLinkProvider({
    provideLinks(row, answer) {
      const { text, cells } = wrapped(term.buffer.active, row - 1);
      const links = locations(text, paths()).map((location) => ({
        text: text.slice(location.from, location.to),
        range: { start: cells[location.from], end: cells[location.to - 1] },
        activate: () => jump(location),
      }));
      answer(links.length ? links : undefined);
    },
  });
}

/** The whole line that row `at` (from 0) is a part of, and for each of its UTF-16 units the cell {x, y}, from 1. */
function wrapped(/** @type {import('@xterm/xterm').IBuffer} */ buffer, /** @type {number} */ at) {
  let first = at;
  while (first > 0 && at - first < MAX_ROWS && buffer.getLine(first)?.isWrapped) first -= 1;
  let text = '';
  const cells = [];
  // Bounded, as a program may print one line without an end.
  for (let y = first; y < first + 2 * MAX_ROWS; y += 1) {
    const line = buffer.getLine(y);
    if (!line || (y > first && !line.isWrapped)) break;
    for (let x = 0; x < line.length; x += 1) {
      const cell = line.getCell(x);
      if (!cell || cell.getWidth() === 0) continue; // the second half of a wide character
      const characters = cell.getChars() || ' ';
      text += characters;
      for (let unit = 0; unit < characters.length; unit += 1) cells.push({ x: x + 1, y: y + 1 });
    }
  }
  return { text, cells };
}
