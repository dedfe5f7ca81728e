// A server, and requests to it that need no session.
import { randomId } from '../../static/core/bytes.js';
import { CodecError, encodeRequest } from '../../static/core/codec.js';
import { messageOf } from '../../static/core/faults.js';
import { eventsOf } from '../../static/core/stream.js';
import { asFiles } from './content.js';
import { Refused, UNREACHABLE, asRefused } from './refused.js';
import { Session } from './session.js';
import { worldOf } from './world.js';

const PATIENCE_MS = 120_000; // for which a server that was there is looked for
const FIRST_MS = 3_000; // for which one that has never answered is: a restart takes a second
const STARTING_MS = 10_000; // a server that has just started looks for its languages' images; all took 1 s
const HELD_MS = 60_000; // a request that failed after that had been taken by a server
const PAUSE_MS = 500;
const [JSON_TYPE, EVENTS] = ['application/json', 'text/event-stream'];
const BEHIND_A_PROXY = [502, 503, 504]; // what a proxy answers while the server behind it is away
// What Node says of an address that cannot be: a name that is not known, a certificate that is not trusted.
const NEVER = /^(ENOTFOUND|ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_)/;

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
  #reached = false; // whether a CodeRunner has answered

  /**
   * @param {string | URL} url the server's address @param {{key?: string | null}} options `key`: an API key or a token
   * Throws Refused for what can be no address or no key.
   */
  constructor(url, { key = null } = {}) {
    this.#base = addressOf(url);
    if (key && !/^[\u0021-\u007e]+$/.test(key)) throw new Refused('the key has characters that no key has', 'unauthenticated');
    this.#key = key || null;
  }

  /** @returns {Promise<{name: string, title: string, version: string, entry: string, [field: string]: unknown}[]>} the most used ones first; throws Refused */
  async languages() {
    return (await this.#json('GET', 'api/languages', undefined, FIRST_MS)).languages;
  }

  /** Opens a session; waits in the queue for its place. @returns {Promise<Session>} throws Refused */
  async open(/** @type {import('./session.js').Wanted} */ wanted) {
    const world = await worldOf(this.#base, this.#key);
    for (const wait = new Wait(); ;) {
      try {
        const session = await Session.opened(world, this.#base.href, wanted);
        this.#reached = true;
        return session;
      } catch (error) {
        await this.#again(error instanceof Refused && error.code === UNREACHABLE ? await this.#whyNot(error, wait) : error, wait);
      }
    }
  }

  /** Runs a program to its end, once, also if the connection is lost meanwhile. @returns {Promise<RunAnswer>} throws Refused */
  async run(/** @type {RunRequest} */ { files, ...request }) {
    return this.#json('POST', 'api/run', files ? { ...request, files: asFiles(files) } : request);
  }

  /**
   * Judges a program by many inputs (`POST /api/batch`), once, also if the connection is lost meanwhile. `told`: is called with each
   * verdict as it comes, once. @returns {Promise<BatchAnswer>} throws Refused
   */
  async batch(/** @type {BatchRequest} */ { files, ...request }, /** @type {(verdict: Verdict) => void} */ told = () => {}) {
    const sent = this.#sent('POST', files ? { ...request, files: asFiles(files) } : request, EVENTS);
    const seen = new Set();
    for (const wait = new Wait(); ;) {
      try {
        const answer = await this.#once('api/batch', sent, wait);
        // Repeated by its key, it comes from the beginning.
        const events = eventsOf(/** @type {ReadableStream<Uint8Array>} */ (answer.body));
        for (;;) {
          const { done, value } = await events.next().catch(() => ({ done: true, value: undefined })); // the connection is lost
          if (done || !value) break;
          const data = JSON.parse(value.data);
          if (value.event === 'case' && !seen.has(data.index)) {
            seen.add(data.index);
            wait.over();
            told(data);
          }
          if (value.event === 'problem') throw new Refused(data.detail, data.code, data.retryable);
          if (value.event === 'done') return await this.#json('GET', `api/batches/${data.id}`);
        }
        throw this.#silent('the connection ended');
      } catch (error) {
        await this.#again(error, wait);
      }
    }
  }

  /** @param {string} method @param {string} path @param {object} [document] @param {number} [most] ms for which it is repeated at most @returns {Promise<any>} */
  async #json(method, path, document, most) {
    const sent = this.#sent(method, document, JSON_TYPE);
    for (const wait = new Wait(most); ;) {
      try {
        const answer = await this.#once(path, sent, wait);
        return await answer.json().catch((/** @type {unknown} */ error) => { throw this.#silent(messageOf(error)); });
      } catch (error) {
        await this.#again(error, wait);
      }
    }
  }

  /** A request, to be sent once or more often. @param {string} method @param {object | undefined} document @param {string} accept */
  #sent(method, document, accept) {
    /** @type {Record<string, string>} */ const headers = { Accept: accept };
    if (this.#key !== null) headers.Authorization = `Bearer ${this.#key}`;
    // By its key the server knows the request when it comes again.
    if (document) Object.assign(headers, { 'Content-Type': JSON_TYPE, 'Idempotency-Key': randomId() });
    return { method, headers, body: document && encoded(document) };
  }

  /** One attempt. @param {string} path @param {{method: string, headers: Record<string, string>, body: string | undefined}} sent @param {Wait} wait @returns {Promise<Response>} throws Refused */
  async #once(path, sent, wait) {
    const began = performance.now();
    let answer;
    try {
      answer = await fetch(new URL(path, this.#base), sent);
    } catch (error) {
      // Node ends a request without an answer after five minutes; a program may take longer, and the server was there.
      if (performance.now() - began > HELD_MS) {
        this.#reached = true;
        wait.over();
      }
      const { code, message } = /** @type {{code?: unknown, message?: unknown}} */ (error instanceof Error && error.cause) || {};
      throw this.#silent(message ? String(message) : '', this.#reached || !NEVER.test(String(code)));
    }
    // Also a proxy answers, and many another program.
    if (answer.ok && answer.headers.get('Content-Type')?.includes(sent.headers.Accept)) {
      this.#reached = true;
      return answer;
    }
    const told = problemOf(await answer.text().catch(() => ''));
    if (told) {
      this.#reached = true;
      throw told;
    }
    const later = answer.ok || BEHIND_A_PROXY.includes(answer.status);
    throw new Refused(`no CodeRunner answers at ${this.#base.href}, but ${answer.status}`, answer.status === 429 ? 'rate_limited' : UNREACHABLE, later || answer.status === 429);
  }

  /** Why no WebSocket could be opened: a browser does not tell. @param {Refused} error @param {Wait} wait @returns {Promise<unknown>} */
  async #whyNot(error, wait) {
    try {
      await (await this.#once('api/languages', this.#sent('GET', undefined, JSON_TYPE), wait)).text();
    } catch (told) {
      wait.deaf = null;
      return told;
    }
    wait.deaf ??= performance.now();
    return performance.now() - wait.deaf > FIRST_MS ? new Refused(`a CodeRunner answers at ${this.#base.href}, but no WebSocket gets through to it`, UNREACHABLE) : error;
  }

  /** Waits for the next attempt, or throws the error of the last one. @param {unknown} error @param {Wait} wait */
  async #again(error, wait) {
    if (!(error instanceof Refused) || !wait.more(error, this.#reached)) throw error;
    await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
  }

  /** @returns {Refused} */
  #silent(/** @type {string} */ why, retryable = true) {
    return new Refused(`no server answers at ${this.#base.href}${why && ': '}${why}`, UNREACHABLE, retryable);
  }
}

/** For how long a server that is away, or about to stop, or has just started is asked again: one rule for all requests. */
class Wait {
  /** @type {number | null} */ #since = null;
  /** @type {number | null} */ deaf = null; // since when it answers, but takes no WebSocket

  /** @param {number} [most] ms */
  constructor(most = PATIENCE_MS) {
    this.most = most;
  }

  /** It has answered, so the time begins anew. */
  over() {
    this.#since = null;
  }

  /** Whether there is to be another attempt after this error. */
  more(/** @type {Refused} */ { code, retryable }, /** @type {boolean} */ reached) {
    /** @type {Record<string, number>} */ const patience = { language_not_ready: STARTING_MS, draining: PATIENCE_MS, [UNREACHABLE]: reached ? PATIENCE_MS : FIRST_MS };
    const now = performance.now();
    this.#since ??= now;
    return retryable && now - this.#since < Math.min(patience[code] ?? 0, this.most);
  }
}

/** @returns {URL} throws Refused for what is no address of a server */
function addressOf(/** @type {string | URL} */ given) {
  const url = URL.canParse(given) ? new URL(given) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) throw new Refused(`'${given}' is no address of a server: that begins with http:// or https://`, UNREACHABLE);
  if (url.username || url.password) throw new Refused('the address of a server has no credential: it is given as `key`', UNREACHABLE);
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/** @returns {string} throws Refused for what no request can have */
function encoded(/** @type {object} */ document) {
  try {
    return encodeRequest(document);
  } catch (error) {
    // What is circular, for example.
    throw error instanceof CodecError ? asRefused(error) : new Refused(`the request cannot be sent: ${messageOf(error)}`, 'bad_message');
  }
}

/** A refusal of a CodeRunner; null if the text is another one's. */
function problemOf(/** @type {string} */ text) {
  try {
    const { detail, code, retryable } = JSON.parse(text);
    return typeof detail === 'string' && typeof code === 'string' ? new Refused(detail, code, retryable === true) : null;
  } catch {
    return null;
  }
}
