// Requests of the wall, with this tab's key or the cookie of a sign-in.
import { world } from '../app/browser.js';
import { credential } from '../app/key.js';
import { inWords } from '../core/problem.js';
import { texts } from '../core/texts.js';

const WITHIN_MS = 30_000;

/** @typedef {{body?: BodyInit, within?: number}} Options of a request; `within`: milliseconds for all of it */

/**
 * Sends a request.
 * @param {string} method
 * @param {string} path relative to the server's address
 * @param {Options} [options]
 * @returns {Promise<Response>}
 * @throws {Error} with words for the user
 */
export async function answerOf(method, path, { body, within = WITHIN_MS } = {}) {
  const asked = { method, headers: credential(), body, signal: AbortSignal.timeout(within) };
  const answer = await world.fetch(world.api(path), asked).catch(() => null);
  if (!answer) throw new Error(texts.session.unreachable);
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  throw new Error(told ? inWords({ code: told.code, message: told.detail }) : texts.session.answered(answer.status));
}

/**
 * @param {string} method
 * @param {string} path relative to the server's address
 * @param {object} [body]
 * @returns {Promise<any>} the document of the answer
 * @throws {Error} with words for the user
 */
export async function request(method, path, body) {
  return (await answerOf(method, path, { body: body && JSON.stringify(body) })).json();
}

export const wordsOf = (/** @type {unknown} */ error) => (error instanceof Error ? error.message : texts.unknownError);
