// The addresses of files that are shown: each expires some minutes after it was received, unless it is renewed.
import { retryable } from './faults.js';
import { texts } from './texts.js';

const SHARE = 3; // renewed after a third of their validity, so two requests may be lost
// After a failure that may be temporary.
const AGAIN_MS = 2000;
const MOST = 64; // in one request

export class Kept {
  #timers;
  #urls;
  /** @type {import('./remote.js').Remote | null} */ #remote = null;
  /** @type {() => number | undefined} */ #ms = () => undefined;
  /** @type {number | null} */ #timer = null;

  /** @param timers with setTimeout and clearTimeout @param urls returns the addresses in use, the most important first */
  constructor(/** @type {import('./types.js').Timers} */ timers, /** @type {() => string[]} */ urls) {
    this.#timers = timers;
    this.#urls = urls;
  }

  /** @param remote with keep(urls, frame) @param ms returns how long an address is valid, once it is known */
  from(/** @type {import('./remote.js').Remote} */ remote, /** @type {() => number | undefined} */ ms) {
    this.#remote = remote;
    this.#ms = ms;
    this.#stop();
    this.later();
  }

  /** A new address was received. */
  later() {
    // A running timer is due earlier than the new address expires.
    if (this.#timer === null) this.#set((this.#ms() ?? 0) / SHARE);
  }

  /** They may have expired: the page was suspended, or the server restarted. */
  soon() {
    this.#set(0);
  }

  /** Renews one that is about to be used. @returns the server's answer, with a word for a frame */
  async now(/** @type {string} */ url) {
    const answer = await this.#remote?.keep([url], true);
    if (!answer?.kept[0]) throw new Error(texts.artifacts.unknownAddress);
    return answer;
  }

  #set(/** @type {number} */ delay) {
    if (!this.#remote || !this.#ms()) return;
    this.#stop();
    this.#timer = this.#timers.setTimeout(() => {
      this.#timer = null;
      this.#keep();
    }, delay);
  }

  #stop() {
    if (this.#timer !== null) this.#timers.clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #keep() {
    const urls = this.#urls().slice(0, MOST);
    const remote = this.#remote;
    if (urls.length === 0 || !remote) return; // the next address starts it again
    let delay = (this.#ms() ?? 0) / SHARE;
    try {
      await remote.keep(urls);
    } catch (error) {
      if (!retryable(error)) return; // the session has ended
      delay = Math.min(delay, AGAIN_MS);
    }
    // Another session may have begun while this request was under way.
    if (remote === this.#remote && this.#timer === null) this.#set(delay);
  }
}
