// Program arguments as people type them: split like a shell's words, without its expansions.

/** @returns {string[] | null} null if a quote is not closed */
export function splitArgs(/** @type {string} */ text) {
  const words = [];
  let word = null;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (quote) {
      if (character === quote) quote = '';
      // Within double quotes a backslash only escapes these two.
      else if (character === '\\' && quote === '"' && '"\\'.includes(text[at + 1] ?? ' ')) word += text[(at += 1)];
      else word += character;
    } else if (character === '"' || character === "'") {
      quote = character;
      // An empty pair of quotes is a word.
      word ??= '';
    } else if (/\s/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else if (character === '\\' && at + 1 < text.length) {
      word = (word ?? '') + text[(at += 1)];
    } else {
      word = (word ?? '') + character;
    }
  }
  if (quote) return null;
  if (word !== null) words.push(word);
  return words;
}

export function joinArgs(/** @type {string[]} */ words) {
  // Quoted again only where needed, so that simple arguments look as they were typed.
  return words.map((word) => (/^[^\s"'\\]+$/.test(word) ? word : `"${word.replace(/["\\]/g, '\\$&')}"`)).join(' ');
}
