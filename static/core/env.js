// Environment variables as people type them: a line each, NAME=value. The bounds are the server's.

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const MOST = 256;
const MOST_CHARACTERS = 32_768;

/** @returns {{env: Object<string, string>, problem: string | null}} `problem` names the line that is wrong */
export function parseEnv(text) {
  /** @type {Record<string, string>} */ const env = {};
  let number = 0;
  for (const line of text.split(/\r?\n/)) {
    number += 1;
    if (!line.trim() || line.trimStart().startsWith('#')) continue;
    const at = line.indexOf('=');
    const name = line.slice(0, at < 0 ? undefined : at).trim();
    const wrong = (why) => ({ env, problem: `Line ${number}: ${why}` });
    if (at < 0) return wrong('NAME=value is expected.');
    if (!NAME.test(name)) return wrong('a name has letters, digits and _, and no digit first.');
    const value = line.slice(at + 1);
    if (value.includes('\u0000') || !value.isWellFormed()) return wrong('the value has a character that cannot be used.');
    if (value.length > MOST_CHARACTERS) return wrong('the value is too long.');
    Object.defineProperty(env, name, { value, enumerable: true, configurable: true });
  }
  return Object.keys(env).length > MOST ? { env, problem: `At most ${MOST} variables.` } : { env, problem: null };
}
