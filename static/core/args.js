// Program arguments as people type them: like a shell's words, without its expansions.

/** @returns {string[] | null} null where a quote is not closed */
export function splitArgs(/** @type {string} */ text) {
  const words = [];
  let word = null;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (quote) {
      if (character === quote) quote = '';
      else if (character === '\\' && quote === '"' && '"\\'.includes(text[at + 1] ?? ' ')) word += text[(at += 1)];
      else word += character;
    } else if (character === '"' || character === "'") {
      quote = character;
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
  return words.map((word) => (/^[^\s"'\\]+$/.test(word) ? word : `"${word.replace(/["\\]/g, '\\$&')}"`)).join(' ');
}
