// Requests of the operator's page, with this tab's key or the cookie of a sign-in.
import { bearer } from '../app/key.js';

/** A request that was refused. */
export class Refusal extends Error {
  constructor(/** @type {string} */ message, /** @type {number} */ status) {
    super(message);
    this.status = status;
  }
}

/** Sends a request. Throws a Refusal, also if the server cannot be reached (status 0). @returns {Promise<Response>} */
async function asked(/** @type {string} */ method, /** @type {string} */ path, /** @type {object | undefined} */ body) {
  const key = bearer();
  /** @type {Record<string, string>} */ const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch(new URL(`api/admin/${path}`, document.baseURI), {
      method, headers, body: body && JSON.stringify(body), cache: 'no-store', signal: AbortSignal.timeout(30_000),
    });
  } catch {
    throw new Refusal('The server does not answer.', 0);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => null);
  throw new Refusal(problem?.detail ?? `The server answers ${answer.status}.`, answer.status);
}

/** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} the document */
export async function ask(method, path, body) {
  return (await asked(method, path, body)).json();
}

/** Saves an answer as a file, as a download of the browser. */
export async function save(/** @type {string} */ path, /** @type {string} */ name) {
  const blob = await (await asked('GET', path, undefined)).blob();
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
