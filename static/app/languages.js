// The languages of the server and their states; polled while some are being prepared.
import { Emitter } from '../core/events.js';
import { unanswered } from '../core/remote.js';
import { texts } from '../core/texts.js';

const AGAIN_MS = 2500;
const AFTER_FAILURE_MS = 5000;

/** @typedef {import('../core/types.js').Language} Language */

/** @type {Record<Language['status'], string>} */
export const TONES = { ready: 'good', building: 'busy', pending: 'busy', failed: 'bad' };

const coming = (/** @type {Language} */ { status }) => status === 'building' || status === 'pending';

/** Events: `change`; `reached`: an Error, or null. @extends {Emitter<{change: undefined, reached: unknown}>} */
export class Languages extends Emitter {
  /** @type {Language[]} */ list = [];
  /** @type {import('../core/types.js').ServerLimits} */ limits = {}; // the server's limits
  /** The name of the selected language, which the server prepares before others. @type {() => string | undefined} */
  wanted = () => undefined;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  find(/** @type {string} */ name) {
    return this.list.find((language) => language.name === name);
  }

  /** For a new visitor: the first one that is ready; the server lists the most used ones first. */
  first() {
    return this.list.find(({ status }) => status === 'ready') ?? this.list[0];
  }

  /** How many can be used, of how many that may become so, and what is being prepared; null when nothing is to come. */
  progress() {
    if (!this.list.some(coming)) return null;
    const ready = this.list.filter(({ status }) => status === 'ready').length;
    return { ready, of: this.list.length, building: this.list.filter(({ status }) => status === 'building').map(({ title }) => title) };
  }

  async poll() {
    clearTimeout(this.#timer);
    /** @type {number | null} */ let again = AFTER_FAILURE_MS;
    try {
      const address = new URL('api/languages', document.baseURI);
      const wanted = this.wanted();
      if (wanted) address.searchParams.set('want', wanted);
      const answer = await fetch(address, { headers: { Accept: 'application/json' } }).catch((error) => { throw unanswered(error); });
      if (!answer.ok) throw new Error(texts.session.answered(answer.status));
      ({ languages: this.list, limits: this.limits = {} } = await answer.json());
      // Once all are ready or have failed, the list does not change any more.
      again = this.list.some(coming) ? AGAIN_MS : null;
      this.emit('change');
      this.emit('reached', null);
    } catch (error) {
      this.emit('reached', error);
    }
    if (again !== null) this.#timer = setTimeout(() => this.poll(), again);
  }
}
