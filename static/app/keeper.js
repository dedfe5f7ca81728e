// Stores in this browser what a later page needs to resume the session, and claims the session for this tab.
import { claim } from './store.js';

const EVERY_MS = 1000;

export class Keeper {
  #store;
  #session;
  #record;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {string | null} */ claimed = null; // the session whose name this tab holds

  /**
   * @param {import('./store.js').Store} store
   * @param {() => import('../core/session.js').Session | null} session
   * @param {() => import('./store.js').PageRecord | null} record returns what is to be kept of it
   */
  constructor(store, session, record) {
    this.#store = store;
    this.#session = session;
    this.#record = record;
    // `pagehide` also comes for pages that the browser keeps (back/forward cache), unlike `unload`.
    addEventListener('pagehide', () => this.#keep());
    // On a phone a page in the background may be ended without another event.
    document.addEventListener('visibilitychange', () => document.hidden && this.#keep());
  }

  /** Something of the session changed: it is kept within a second. */
  changed() {
    const session = this.#session();
    if (session?.id && session.id !== this.claimed) {
      this.claimed = session.id;
      claim(session.id, { otherwise: true });
    }
    this.#timer ??= setTimeout(() => this.#keep(), EVERY_MS);
  }

  #keep() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const session = this.#session();
    const record = this.#record();
    if (session) this.#store.saveSession(record);
    if (session?.phase === 'over') this.#store.dropSession(session.id ?? '');
    // While it is connected its positions change, and each is kept within a second.
    if (record?.session && session?.link.up) this.#timer = setTimeout(() => this.#keep(), EVERY_MS);
  }
}
