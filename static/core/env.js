// Environment variables as people type them: one line each, NAME=value. The bounds are the server's.
import { texts } from './texts.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const MOST = 256;
const MAX_CHARACTERS = 32_768;

/** @returns {{env: Object<string, string>, problem: string | null}} `problem` names the invalid line */
export function parseEnv(/** @type {string} */ text) {
  /** @type {Record<string, string>} */ const env = {};
  let number = 0;
  for (const line of text.split(/\r?\n/)) {
    number += 1;
    if (!line.trim() || line.trimStart().startsWith('#')) continue;
    const at = line.indexOf('=');
    const name = line.slice(0, at < 0 ? undefined : at).trim();
    const wrong = (/** @type {string} */ why) => ({ env, problem: texts.options.envLine(number, why) });
    if (at < 0) return wrong(texts.options.envExpected);
    if (!NAME.test(name)) return wrong(texts.options.envName);
    const value = line.slice(at + 1);
    // Programs could not get such a value.
    if (value.includes('\u0000') || !value.isWellFormed()) return wrong(texts.options.envValue);
    if (value.length > MAX_CHARACTERS) return wrong(texts.options.envLong);
    // Not by assignment: `__proto__` is a valid name.
    Object.defineProperty(env, name, { value, enumerable: true, configurable: true });
  }
  return Object.keys(env).length > MOST ? { env, problem: texts.options.envMany(MOST) } : { env, problem: null };
}
