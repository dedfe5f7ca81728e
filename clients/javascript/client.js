// A server, and requests to it that need no session.
import { randomId } from '../../static/core/bytes.js';
import { Refused } from './refused.js';
import { Session, asFiles } from './session.js';
import { worldOf } from './world.js';

const PATIENCE_MS = 120_000; // for which a server that was there is looked for
const PAUSE_MS = 500;

/** @typedef {import('./session.js').Files} Files */
/** The request of `POST /api/run`. @typedef {{language: string, source?: string, files?: Files, stdin?: string, args?: string[], entry?: string, [field: string]: unknown}} RunRequest */
/**
 * The answer of `POST /api/run`.
 * @typedef {{id: string, stdout?: string, stderr?: string, output?: string, order: number[], exit: {reason: string, code: number | null, signal: string | null} | null,
 *   [field: string]: unknown}} RunAnswer
 */

export class Client {
  #base;
  #key;

  /** @param {string | URL} url the server's address @param {{key?: string | null}} options `key`: an API key or a token */
  constructor(url, { key = null } = {}) {
    this.#base = new URL(url);
    if (!this.#base.pathname.endsWith('/')) this.#base.pathname += '/';
    this.#key = key;
  }

  /** @returns {Promise<{name: string, title: string, version: string, entry: string, [field: string]: unknown}[]>} the most used ones first; throws Refused */
  async languages() {
    return (await this.#json('GET', 'api/languages')).languages;
  }

  /** Opens a session; waits in the queue for its place. @returns {Promise<Session>} throws Refused */
  async open(/** @type {{language: string, files?: Files, limits?: Record<string, number>}} */ wanted) {
    return Session.opened(await worldOf(this.#base, this.#key), this.#base.href, wanted);
  }

  /** Runs a program to its end, once, also if the connection is lost meanwhile. @returns {Promise<RunAnswer>} throws Refused */
  run(/** @type {RunRequest} */ { files, ...request }) {
    return this.#json('POST', 'api/run', files ? { ...request, files: asFiles(files) } : request);
  }

  /** @param {string} method @param {string} path @param {object} [document] @returns {Promise<any>} */
  async #json(method, path, document) {
    /** @type {Record<string, string>} */ const headers = this.#key === null ? {} : { Authorization: `Bearer ${this.#key}` };
    // By its key the server knows the request when it comes again.
    if (document) Object.assign(headers, { 'Content-Type': 'application/json', 'Idempotency-Key': randomId() });
    for (let since = /** @type {number | null} */ (null); ;) {
      const answer = await fetch(new URL(path, this.#base), { method, headers, body: document && JSON.stringify(document) }).catch(() => null);
      const text = await answer?.text().catch(() => null) ?? null;
      const away = text === null || !answer || [502, 504].includes(answer.status) || (answer.status === 503 && text.includes('draining'));
      if (!away) {
        if (answer.ok) return JSON.parse(text);
        throw refusal(this.#base.href, answer.status, text);
      }
      since ??= performance.now();
      if (!document || performance.now() - since > PATIENCE_MS) {
        if (answer?.status === 503 && text !== null) throw refusal(this.#base.href, 503, text); // it takes no new sessions
        throw new Refused(`no server answers at ${this.#base.href}`, 'unreachable', true);
      }
      await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
    }
  }
}

/** @returns {Refused} */
function refusal(/** @type {string} */ place, /** @type {number} */ status, /** @type {string} */ text) {
  try {
    const { detail, code, retryable } = JSON.parse(text);
    return new Refused(detail, code, retryable);
  } catch {
    return new Refused(`${place} answers ${status}`, 'internal');
  }
}
