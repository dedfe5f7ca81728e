// A server, and requests to it that need no session.
import { EVENTS, FORMS, Server } from './asking.js';
import { asFiles } from './content.js';
import { FIRST_MS, Failed, Patience, refusal, silent } from './patience.js';
import { Refused, UNREACHABLE } from './refused.js';
import { Session } from './session.js';
import { worldOf } from './world.js';

const LONG_MS = 30_000; // an attempt that failed after that may have been taken by a server: a program runs, or a proxy has given up

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
  #server;

  /**
   * @param {string | URL} url the server's address @param {{key?: string | null}} options `key`: an API key or a token
   * Throws Refused for what can be no address or no key.
   */
  constructor(url, { key = null } = {}) {
    this.#base = addressOf(url);
    if (key && !/^[\u0021-\u007e]+$/.test(key)) throw new Refused('the key has characters that no key has', 'unauthenticated');
    this.#key = key || null;
    this.#server = new Server(this.#base, this.#key);
  }

  /** @returns {Promise<{name: string, title: string, version: string, entry: string, [field: string]: unknown}[]>} the most used ones first; throws Refused */
  async languages() {
    return (await this.#asked('api/languages', this.#server.request('GET', undefined), FORMS.languages, FIRST_MS)).languages;
  }

  /** Opens a session; waits in the queue for its place. @returns {Promise<Session>} throws Refused */
  async open(/** @type {import('./session.js').Wanted} */ wanted) {
    const world = await worldOf(this.#base, this.#key);
    /** @type {{since: number | null}} */ const deaf = { since: null }; // since when it answers, but takes no WebSocket
    for (const patience = new Patience(this.#server); ;) {
      try {
        const session = await Session.opened(world, this.#server.place, wanted);
        this.#server.reached = true;
        return session;
      } catch (error) {
        await patience.wait(error instanceof Refused ? await this.#whyNot(error, deaf) : error);
      }
    }
  }

  /** Runs a program to its end, once, also if the connection is lost meanwhile. @returns {Promise<RunAnswer>} throws Refused */
  async run(/** @type {RunRequest} */ { files, ...request }) {
    return this.#asked('api/run', this.#server.request('POST', files ? { ...request, files: asFiles(files) } : request), FORMS.run);
  }

  /**
   * Judges a program by many inputs (`POST /api/batch`), once, also if the connection is lost meanwhile. `told`: is called with each
   * verdict as it comes, once. @returns {Promise<BatchAnswer>} throws Refused
   */
  async batch(/** @type {BatchRequest} */ { files, ...request }, /** @type {(verdict: Verdict) => void} */ told = () => {}) {
    const sent = this.#server.request('POST', files ? { ...request, files: asFiles(files) } : request, EVENTS);
    const seen = new Set();
    let begun = false;
    for (const patience = new Patience(this.#server); ;) {
      try {
        // Repeated by its key, it comes from the beginning.
        for await (const { event, data } of this.#server.events('api/batch', sent, begun || patience.fails)) {
          begun = true;
          if (event === 'case' && !seen.has(data.index)) {
            seen.add(data.index);
            patience.restart();
            told(data);
          }
          if (event === 'problem') throw new Refused(data.detail, data.code, data.retryable === true);
          if (event === 'done') return await this.#asked(`api/batches/${encodeURIComponent(data.id)}`, this.#server.request('GET', undefined), FORMS.batch);
        }
      } catch (error) {
        await patience.wait(error);
      }
    }
  }

  /** @param {string} path @param {import('./asking.js').Sent} sent @param {import('./asking.js').Form} form @param {number} [most] ms for which it is repeated at most @returns {Promise<any>} throws Refused */
  async #asked(path, sent, form, most) {
    for (const patience = new Patience(this.#server, most); ;) {
      const began = performance.now();
      try {
        return await this.#server.ask(path, sent, form, patience.fails);
      } catch (error) {
        const taken = sent.method === 'POST' && error instanceof Failed && error.heldMs === null && performance.now() - began >= LONG_MS;
        if (taken && await this.#server.answers()) patience.restart();
        await patience.wait(error);
      }
    }
  }

  /** Why no session could be opened: a browser does not tell of a WebSocket. @param {Refused} error @param {{since: number | null}} deaf @returns {Promise<unknown>} */
  async #whyNot(error, deaf) {
    if (error.code !== UNREACHABLE || !error.retryable) return refusal(error);
    try {
      await this.#server.ask('api/languages', this.#server.request('GET', undefined), FORMS.languages);
    } catch (told) {
      deaf.since = null;
      return told;
    }
    deaf.since ??= performance.now();
    const why = `a CodeRunner answers at ${this.#server.place}, but no WebSocket gets through to it`;
    return performance.now() - deaf.since > FIRST_MS ? new Refused(why, UNREACHABLE) : silent(this.#server.place, '');
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
