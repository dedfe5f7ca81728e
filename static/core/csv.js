// The beginning of a table that a program wrote: values separated by comma, semicolon or tab, quotes as in RFC 4180.

export const MAX_ROWS = 200;
export const MAX_COLUMNS = 50;
const MAX_CELL = 300;

/**
 * @param text the file or its beginning @param whole false if it is cut off, so that its last line may be incomplete
 * @returns {{rows: string[][], more: boolean}} at most MAX_ROWS rows of MAX_COLUMNS; `more`: the table has more
 */
export function parseTable(/** @type {string} */ text, { whole = true } = {}) {
  const separator = separatorOf(text);
  /** @type {string[][]} */ const rows = [];
  /** @type {string[]} */ let row = [];
  let cell = '';
  let quoted = false;
  let more = !whole;
  const endCell = () => {
    if (row.length < MAX_COLUMNS) row.push(cell.length > MAX_CELL ? `${cell.slice(0, MAX_CELL)}…` : cell);
    else more = true;
    cell = '';
  };
  const endRow = () => {
    endCell();
    rows.push(row);
    row = [];
  };
  // Excel writes a byte order mark.
  let at = text.startsWith('\ufeff') ? 1 : 0;
  for (; at < text.length && rows.length < MAX_ROWS; at += 1) {
    const character = text[at];
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[at + 1] === '"') cell += text[(at += 1)];
      else quoted = false;
    } else if (character === '"' && cell === '') quoted = true;
    else if (character === separator) endCell();
    else if (character === '\n') endRow();
    // A CR before an LF belongs to the line end; any other is a character.
    else if (character !== '\r' || text[at + 1] !== '\n') cell += character;
  }
  if (at < text.length) more = true;
  // The last line of a file need not end with a line break.
  else if (whole && (cell || row.length) && rows.length < MAX_ROWS) endRow();
  return { rows, more };
}

/** Of the possible separators, the one that the first line has most of. */
function separatorOf(/** @type {string} */ text) {
  const line = text.slice(0, 4096).split('\n', 1)[0];
  const parts = (/** @type {string} */ one) => line.split(one).length;
  return [',', ';', '\t'].sort((a, b) => parts(b) - parts(a))[0];
}
