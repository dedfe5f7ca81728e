// A server, and requests to it that need no session.
import { randomId } from '../../static/core/bytes.js';
import { eventsOf } from '../../static/core/stream.js';
import { asFiles } from './content.js';
import { Refused } from './refused.js';
import { Session } from './session.js';
import { worldOf } from './world.js';

const PATIENCE_MS = 120_000; // for which a server that was there is looked for
const PAUSE_MS = 500;
const STARTING_MS = 10_000; // a server that has just started looks for its languages' images; all took 1 s
const NOT_READY = 'language_not_ready';

/** @typedef {import('./content.js').Files} Files */
/** The request of `POST /api/run`. @typedef {{language: string, source?: string, files?: Files, stdin?: string, args?: string[], entry?: string, [field: string]: unknown}} RunRequest */
/**
 * The answer of `POST /api/run`.
 * @typedef {{id: string, stdout?: string, stderr?: string, output?: string, order: number[], exit: {reason: string, code: number | null, signal: string | null} | null,
 *   [field: string]: unknown}} RunAnswer
 */
/** The request of `POST /api/batch`. @typedef {{language: string, source?: string, files?: Files, cases: object[], checker?: object, [field: string]: unknown}} BatchRequest */
/** A case's. @typedef {{index: number, name?: string, verdict: string, message?: string, [field: string]: unknown}} Verdict */
/** @typedef {{id: string, end: string, passed: number, counts: Record<string, number>, cases: Verdict[], [field: string]: unknown}} BatchAnswer */

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
  async open(/** @type {import('./session.js').Wanted} */ wanted) {
    for (let since = /** @type {number | null} */ (null); ;) {
      try {
        return await Session.opened(await worldOf(this.#base, this.#key), this.#base.href, wanted);
      } catch (error) {
        since ??= performance.now();
        if (!starts(error, since)) throw error;
      }
      await pause();
    }
  }

  /** Runs a program to its end, once, also if the connection is lost meanwhile. @returns {Promise<RunAnswer>} throws Refused */
  run(/** @type {RunRequest} */ { files, ...request }) {
    return this.#json('POST', 'api/run', files ? { ...request, files: asFiles(files) } : request);
  }

  /**
   * Judges a program by many inputs (`POST /api/batch`), once, also if the connection is lost meanwhile. `told`: is called with each
   * verdict as it comes, once. @returns {Promise<BatchAnswer>} throws Refused
   */
  async batch(/** @type {BatchRequest} */ { files, ...request }, /** @type {(verdict: Verdict) => void} */ told = () => {}) {
    const document = files ? { ...request, files: asFiles(files) } : request;
    const headers = { ...this.#headers(document), Accept: 'text/event-stream' };
    const seen = new Set();
    for (let since = /** @type {number | null} */ (null); ;) {
      const answer = await this.#answer('POST', 'api/batch', document, headers, since);
      // Repeated by its key, it comes from the beginning.
      const events = eventsOf(/** @type {ReadableStream<Uint8Array>} */ (answer.body));
      for (;;) {
        const { done, value } = await events.next().catch(() => ({ done: true, value: undefined })); // the connection is lost
        if (done || !value) break;
        since = null;
        const data = JSON.parse(value.data);
        if (value.event === 'case' && !seen.has(data.index)) told(data);
        if (value.event === 'case') seen.add(data.index);
        if (value.event === 'problem') throw new Refused(data.detail, data.code, data.retryable);
        if (value.event === 'done') return this.#json('GET', `api/batches/${data.id}`, undefined, true);
      }
      since ??= performance.now();
      await pause();
    }
  }

  /** @param {string} method @param {string} path @param {object} [document] @param {boolean} [again] whether it is repeated @returns {Promise<any>} */
  async #json(method, path, document, again = document !== undefined) {
    const headers = this.#headers(document);
    for (let since = /** @type {number | null} */ (null); ;) {
      const answer = await this.#answer(method, path, document, headers, since, again);
      const text = await answer.text().catch(() => null);
      if (text !== null) return JSON.parse(text);
      since ??= performance.now();
      await pause();
    }
  }

  /** @returns {Record<string, string>} */
  #headers(/** @type {object | undefined} */ document) {
    /** @type {Record<string, string>} */ const headers = this.#key === null ? {} : { Authorization: `Bearer ${this.#key}` };
    // By its key the server knows the request when it comes again.
    return document ? { ...headers, 'Content-Type': 'application/json', 'Idempotency-Key': randomId() } : headers;
  }

  /**
   * An answer that is no refusal; a server that is away is asked again. `since`: when it went away. @returns {Promise<Response>}
   * @param {string} method @param {string} path @param {object | undefined} document @param {Record<string, string>} headers
   * @param {number | null} since @param {boolean} [again]
   */
  async #answer(method, path, document, headers, since, again = true) {
    for (;;) {
      const began = performance.now();
      const answer = await fetch(new URL(path, this.#base), { method, headers, body: document && JSON.stringify(document) }).catch(() => null);
      if (answer?.ok) return answer;
      const text = await answer?.text().catch(() => null) ?? null;
      const starting = answer?.status === 503 && text !== null && text.includes(NOT_READY);
      const away = starting || text === null || !answer || [502, 504].includes(answer.status) || (answer.status === 503 && text.includes('draining'));
      if (!away) throw refusal(this.#base.href, answer.status, text);
      const now = performance.now();
      // Node ends a request without an answer after five minutes; a program may take longer, and the server was there.
      if (now - began > PATIENCE_MS) since = null;
      since ??= now;
      if (!again || now - since > (starting ? STARTING_MS : PATIENCE_MS)) {
        if (answer?.status === 503 && text !== null) throw refusal(this.#base.href, 503, text); // it takes no new sessions
        throw new Refused(`no server answers at ${this.#base.href}`, 'unreachable', true);
      }
      await pause();
    }
  }
}

/** Whether this refusal may be of a server that has just started; `since`: when the first one came, as `performance.now` has it. */
const starts = (/** @type {unknown} */ error, /** @type {number} */ since) => error instanceof Refused && error.code === NOT_READY && performance.now() - since < STARTING_MS;

/** @returns {Promise<void>} */
const pause = () => new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });

/** @returns {Refused} */
function refusal(/** @type {string} */ place, /** @type {number} */ status, /** @type {string} */ text) {
  try {
    const { detail, code, retryable } = JSON.parse(text);
    return new Refused(detail, code, retryable);
  } catch {
    return new Refused(`${place} answers ${status}`, 'internal');
  }
}
