// How long a call asks again where no CodeRunner answers: one rule for all calls.
import { Refused, UNREACHABLE } from './refused.js';

export const FIRST_MS = 3_000; // for which one that has never answered is asked again: a restart takes a second
export const RECONNECT_MS = 120_000; // for which a server that was there is looked for
const STARTING_MS = 10_000; // a server that has just started looks for its languages' images; all took 1 s
const PAUSE_MS = 500;
export const LATER = [429, 502, 503, 504]; // what is told in place of a server that may be back soon
/** @type {Record<string, number>} */ const HELD = { language_not_ready: STARTING_MS, draining: RECONNECT_MS };

/** A server as it is asked. `place`: its address. `reached`: whether a CodeRunner has answered. @typedef {{readonly place: string, reached: boolean}} Asked */

/**
 * Why an attempt has failed where a later one may succeed. `refused`: what is told if none does. `heldMs`: how long a CodeRunner is
 * asked again that cannot do it yet; null if none has answered. `stays`: it fails again, whatever is started meanwhile.
 */
export class Failed extends Error {
  constructor(/** @type {Refused} */ refused, { why = refused.message, heldMs = /** @type {number | null} */ (null), stays = false } = {}) {
    super(why);
    this.refused = refused;
    this.heldMs = heldMs;
    this.stays = stays;
  }
}

/** Nothing has answered. @param {string} place @param {string} why */
export const silent = (place, why, stays = false) => new Failed(new Refused(`no server answers at ${place}${why && ': '}${why}`, UNREACHABLE, !stays), { why, stays });

/** Something else has answered: a proxy without a server behind it, or a portal. @param {string} place @param {number} status */
export function foreign(place, status) {
  return new Failed(new Refused(`no CodeRunner answers at ${place}, but ${status}`, UNREACHABLE, LATER.includes(status)), { why: `something else answers, with ${status}` });
}

/**
 * A CodeRunner's refusal, as a Failed if it is asked again: as it starts or takes no new sessions, or `again`: what has begun is not
 * given up as many come back at one time.
 */
export function refusal(/** @type {Refused} */ refused, again = false) {
  const heldMs = again ? RECONNECT_MS : HELD[refused.code];
  return heldMs && refused.retryable ? new Failed(refused, { heldMs }) : refused;
}

/**
 * The patience of one call: while no CodeRunner has answered this client three seconds from the call on, otherwise `most` ms from the
 * first failure on.
 */
export class Patience {
  #server;
  #most;
  #begun = performance.now();
  /** @type {number | null} */ #failed = null; // since when it fails

  constructor(/** @type {Asked} */ server, most = RECONNECT_MS) {
    this.#server = server;
    this.#most = most;
  }

  /** Whether an attempt has failed since `restart`. */
  get fails() {
    return this.#failed !== null;
  }

  /** The server was there: what comes counts anew. */
  restart() {
    this.#failed = null;
  }

  /** Waits until the next attempt after this error. @returns {Promise<void>} throws what is told if there is none */
  async wait(/** @type {unknown} */ error) {
    if (!(error instanceof Failed)) throw error;
    const now = performance.now();
    this.#failed ??= now;
    const left = this.#until(error, this.#failed) - now;
    if (left <= 0) throw this.#told(error);
    await new Promise((resolve) => { setTimeout(resolve, Math.min(PAUSE_MS, left)); });
  }

  #until(/** @type {Failed} */ { heldMs, stays }, /** @type {number} */ failed) {
    if (heldMs !== null) return failed + Math.min(heldMs, this.#most);
    if (this.#server.reached) return failed + this.#most;
    return stays ? 0 : this.#begun + FIRST_MS;
  }

  #told(/** @type {Failed} */ { heldMs, refused, message }) {
    if (heldMs !== null || !this.#server.reached) return refused;
    return new Refused(`the server at ${this.#server.place} cannot be reached any more${message && ': '}${message}`, UNREACHABLE, true);
  }
}
