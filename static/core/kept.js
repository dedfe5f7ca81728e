// The addresses of what is shown: each ends some minutes after it was told, unless it is kept.
import { retryable } from './faults.js';
import { texts } from './texts.js';

const SHARE = 3; // of the time for which one is good: so two requests may be lost
const AGAIN_MS = 2000;
const MOST = 64; // in one request

export class Kept {
  #timers;
  #urls;
  /** @type {import('./remote.js').Remote | null} */ #remote = null;
  /** @type {() => number | undefined} */ #ms = () => undefined;
  /** @type {number | null} */ #timer = null;

  /** @param timers with setTimeout and clearTimeout @param urls returns those that are in use, the most important first */
  constructor(/** @type {import('./types.js').Timers} */ timers, /** @type {() => string[]} */ urls) {
    this.#timers = timers;
    this.#urls = urls;
  }

  /** @param remote with keep(urls, frame) @param ms returns how long an address is good, once it is known */
  from(/** @type {import('./remote.js').Remote} */ remote, /** @type {() => number | undefined} */ ms) {
    this.#remote = remote;
    this.#ms = ms;
    this.#stop();
    this.later();
  }

  /** There is one more, told just now. */
  later() {
    if (this.#timer === null) this.#set((this.#ms() ?? 0) / SHARE);
  }

  /** Perhaps they have ended: the page slept, or the server is another. */
  soon() {
    this.#set(0);
  }

  /** One is about to be used. @returns what the server answers, with a word for a frame */
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
    if (urls.length === 0 || !remote) return; // the next one begins it
    let delay = (this.#ms() ?? 0) / SHARE;
    try {
      await remote.keep(urls);
    } catch (error) {
      if (!retryable(error)) return; // the session is over
      delay = Math.min(delay, AGAIN_MS);
    }
    if (remote === this.#remote && this.#timer === null) this.#set(delay);
  }
}
