// Requests of the wall, as who signed in.
import { world } from '../app/browser.js';
import { credential } from '../app/key.js';
import { inWords } from '../core/problem.js';
import { texts } from '../core/texts.js';

const WITHIN_MS = 30_000;

/**
 * @param {string} method
 * @param {string} path relative to the server's address
 * @param {object} [body]
 * @returns {Promise<any>} the document of the answer
 * @throws {Error} with words for the user
 */
export async function request(method, path, body) {
  const asked = { method, headers: credential(), body: body && JSON.stringify(body), signal: AbortSignal.timeout(WITHIN_MS) };
  const answer = await world.fetch(world.api(path), asked).catch(() => null);
  if (!answer) throw new Error(texts.session.unreachable);
  const told = await answer.json().catch(() => null);
  if (answer.ok) return told;
  throw new Error(told ? inWords({ code: told.code, message: told.detail }) : texts.session.answered(answer.status));
}

export const wordsOf = (/** @type {unknown} */ error) => (error instanceof Error ? error.message : texts.unknownError);
