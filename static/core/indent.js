// How a file is indented: as its text is; otherwise by `.editorconfig` or its name; otherwise by its language.

/** @type {[RegExp, string][]} */
const BY_NAME = [[/(^|\/)(GNU)?[Mm]akefile(\.|$)|\.(mk|mak|go)$/, '\t']];
const MAX_LINES = 2000;

/** @returns {string | null} a tab or some spaces, as most lines of a text begin; null if it has no indentation */
export function indentOfText(/** @type {string} */ text) {
  let tabs = 0;
  const steps = new Map();
  let before = 0;
  for (const line of text.split(/\r\n?|\n/, MAX_LINES)) {
    if (line.startsWith('\t')) tabs += 1;
    // Without lines of block comments, which are indented by one more.
    const spaces = /^ *(?=\S)(?!\*)/.exec(line)?.[0].length;
    if (spaces === undefined) continue;
    const step = spaces - before;
    // Steps to a deeper level only; 1 and more than 8 are alignment.
    if (step > 1 && step <= 8) steps.set(step, (steps.get(step) ?? 0) + 1);
    before = spaces;
  }
  const [best] = [...steps].sort((a, b) => b[1] - a[1]);
  const spaced = [...steps.values()].reduce((sum, one) => sum + one, 0);
  if (!tabs && !best) return null;
  return tabs >= spaced ? '\t' : ' '.repeat(best[0]);
}

/** The properties of an `.editorconfig` for a file; of several values the last one. */
export function editorConfig(/** @type {string} */ text, /** @type {string} */ path) {
  const name = path.slice(path.lastIndexOf('/') + 1);
  /** @type {Record<string, string>} */ const found = {};
  let speaks = false;
  for (const raw of text.split(/\r\n?|\n/)) {
    const line = raw.trim();
    if (!line || line.startsWith('#') || line.startsWith(';')) continue;
    const section = /^\[(.+)\]$/.exec(line);
    if (section) speaks = matches(section[1], name, path);
    else if (speaks) {
      const [key, value] = line.split('=').map((part) => part.trim().toLowerCase());
      if (value !== undefined) found[key] = value;
    }
  }
  return found;
}

/** Globs of editorconfig: `*`, `**`, `?`, `[name]`, `{a,b}`. */
function matches(/** @type {string} */ glob, /** @type {string} */ name, /** @type {string} */ path) {
  // `**` is kept apart by a character that no path has.
  const pattern = glob.replace(/[.+^$()|\\]/g, '\\$&').replace(/\{([^{}]*)\}/g, (_, list) => `(?:${list.replaceAll(',', '|')})`)
    .replace(/\*\*/g, '\u0000').replace(/\*/g, '[^/]*').replace(/\?/g, '[^/]').replaceAll('\u0000', '.*').replace(/\[!/g, '[^');
  try {
    return new RegExp(`^${pattern.replace(/^\//, '')}$`).test(glob.includes('/') ? path : name);
  } catch {
    return false;
  }
}

/** @param config the text of `.editorconfig`, or '' @param spaces of the language; 0: tabs @returns {{unit: string, size: number}} */
export function indentation(/** @type {{path: string, text: string, config?: string, spaces?: number}} */ { path, text, config = '', spaces = 4 }) {
  /** @type {Record<string, string>} */ const told = config ? editorConfig(config, path) : {};
  const size = Math.min(16, Number.parseInt(told.tab_width ?? told.indent_size, 10) || spaces || 4);
  const byConfig = told.indent_style === 'tab' ? '\t' : told.indent_style === 'space' || Number.parseInt(told.indent_size, 10) > 0 ? ' '.repeat(Math.min(16, Number.parseInt(told.indent_size, 10) || spaces || 4)) : null;
  const byName = BY_NAME.find(([pattern]) => pattern.test(path))?.[1] ?? null;
  // In this order: Makefiles need tabs, then the configuration, the text, the language.
  const unit = byName === '\t' && byConfig === null ? '\t' : byConfig ?? indentOfText(text) ?? (spaces ? ' '.repeat(spaces) : '\t');
  return { unit, size: unit === '\t' ? size : unit.length };
}
