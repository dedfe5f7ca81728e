// Places in files in a program's output: `main.py:3`, `File "main.py", line 3`, `main.ts(3,7)`, `in main.php on line
// 3`. Only known files count, so nothing else becomes a link.

const ROOT = '/workspace/';
// Of one line; a longer one is searched at its beginning.
const MAX_TEXT = 4096;

// The text after a file's name. The first group is the line, the second the column.
const BEHIND = /^(?::(\d{1,7})(?::(\d{1,5}))?(?!\d)|["'”’]?,? (?:on |at )?line (\d{1,7})(?!\d)|\((\d{1,7})(?:,(\d{1,5}))?\))/;
const PART_OF_NAME = /[\p{L}\p{N}_.\-/\\]/u;

/** A file's name as the project has it: relative, or in the workspace's folder; null for others. */
export function relative(/** @type {string} */ path) {
  const inside = path.startsWith(ROOT) ? path.slice(ROOT.length) : path;
  const plain = inside.replace(/^(?:\.\/)+/, '');
  return plain && !plain.startsWith('/') ? plain : null;
}

/**
 * @param paths of the known files
 * @returns {{path: string, line: number, column: number | null, from: number, to: number}[]} in the text's order
 */
export function locations(/** @type {string} */ text, /** @type {string[]} */ paths) {
  const line = text.slice(0, MAX_TEXT);
  const found = [];
  for (const path of paths) {
    for (let at = line.indexOf(path); at >= 0; at = line.indexOf(path, at + path.length)) {
      const from = begin(line, at);
      if (from === null) continue;
      const behind = BEHIND.exec(line.slice(at + path.length, at + path.length + 40));
      if (!behind) continue;
      const [whole, ...numbers] = behind;
      const [number, column] = numbers.filter((one) => one !== undefined).map(Number);
      if (number > 0) found.push({ path, line: number, column: column ?? null, from, to: at + path.length + whole.length });
    }
  }
  return found.sort((a, b) => a.from - b.from);
}

/** The beginning of a name at `at`, with its prefix; null if it is the end of another name. */
function begin(/** @type {string} */ line, /** @type {number} */ at) {
  for (const lead of [ROOT, './', '']) {
    const from = at - lead.length;
    if (from < 0 || line.slice(from, at) !== lead) continue;
    if (from === 0 || !PART_OF_NAME.test(line[from - 1])) return from;
  }
  return null;
}
