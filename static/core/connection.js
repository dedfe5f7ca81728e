// A WebSocket that reconnects: connects, passes frames on, detects silence, and connects again after a loss. It knows
// nothing of sessions; `target()` returns the address for each attempt.
import { PROTOCOL } from './codec.js';
import { waitAfter } from './retry.js';

const CONNECT_MS = 10_000;
const PING_EVERY_MS = 5_000; // of silence
const ANSWER_WITHIN_MS = 1_000; // for an answer to what was sent, before a ping is sent
const SILENT_AFTER_MS = 2_000; // without an answer to a ping, until it is reported
const PONG_WITHIN_MS = 8_000; // then the connection counts as lost
// For a ping after the network or the page came back.
const HURRY_MS = 4_000;

/**
 * Its handler's onSilent(since): a ping has been unanswered since then (of `now()`); null: something was received again.
 */
export class Connection {
  #world;
  #target;
  #handler;
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {number | null} of `timers` */ #timer = null;
  /** @type {number | null} of `timers` */ #watch = null;
  /** @type {number | null} */ #due = null; // when the next check is due
  /** @type {number | null} */ #asked = null; // when the unanswered ping was sent
  #unsent = 0; // bytes that had not left this machine at the last check
  #silent = false;
  #attempt = 0;
  /** @type {import('./messages.js').ErrorMessage | null} */ #lastError = null;

  constructor(/** @type {import('./types.js').World} */ world, /** @type {() => string} */ target, /** @type {import('./types.js').Hearer} */ handler) {
    this.#world = world;
    this.#target = target;
    this.#handler = handler;
    this.open = false;
    /** @type {number | null} */ this.rttMs = null;
  }

  start() {
    this.#clear();
    let socket;
    try {
      socket = this.#world.connect(this.#target(), PROTOCOL);
    // Raised for an invalid address, and by some policies of browsers.
    } catch {
      this.#down(1006);
      return;
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#expect(CONNECT_MS);
    // Events of an earlier socket are ignored.
    /** @template Event @param {(event: Event) => unknown} act @returns {(event: Event) => unknown} */
    const mine = (act) => (event) => this.#socket === socket && act(event);
    socket.onopen = mine(() => {
      this.open = true;
      this.#quiet();
      this.#handler.onOpen();
    });
    socket.onmessage = mine((/** @type {MessageEvent<string | ArrayBuffer>} */ { data }) => {
      this.#heard();
      if (typeof data === 'string') this.#handler.onText(data);
      else this.#handler.onBinary(data);
    });
    socket.onclose = mine((/** @type {CloseEvent} */ { code }) => this.#down(code));
    socket.onerror = () => {}; // `close` follows
  }

  /** The session is established: the next loss starts counting attempts from 0. */
  settled() {
    this.#attempt = 0;
    this.#lastError = null;
  }

  /** The error that the server has sent as the reason of the close that follows. */
  failed(/** @type {import('./messages.js').ErrorMessage} */ error) {
    this.#lastError = error;
  }

  send(/** @type {string | Uint8Array<ArrayBuffer>} */ data) {
    if (this.open) this.#socket?.send(data);
  }

  /** Something was sent that the server answers: if nothing arrives soon, a ping is sent. */
  expectAnswer() {
    if (this.open && this.#asked === null) this.#look(ANSWER_WITHIN_MS);
  }

  pong(/** @type {number} */ t) {
    this.rttMs = Math.max(0, this.#world.now() - t);
  }

  /** The network or the page came back: checks at once whether the connection still works, or connects at once. */
  hurry() {
    if (this.open) {
      this.#ping(HURRY_MS);
    } else if (this.#timer !== null) {
      this.start();
    }
  }

  /** Drops a connection that cannot be trusted any more, and connects again. */
  reset() {
    if (this.#socket) this.#down(1006);
  }

  /** Closes for good. */
  stop(code = 1000) {
    const socket = this.#socket;
    this.#clear();
    socket?.close(code);
  }

  #down(/** @type {number} */ code) {
    const socket = this.#socket;
    this.#clear();
    if (socket && socket.readyState < 2) socket.close(); // its late events are ignored
    const retryInMs = waitAfter(code, this.#lastError, this.#attempt, this.#world.random);
    this.#attempt += 1;
    // Consumed: it explains this close only.
    this.#lastError = null;
    if (retryInMs !== null) {
      this.#timer = this.#world.timers.setTimeout(() => this.start(), retryInMs);
    }
    this.#handler.onDown({ code, retryInMs });
  }

  #clear() {
    this.#world.timers.clearTimeout(this.#timer);
    this.#world.timers.clearTimeout(this.#watch);
    this.#timer = null;
    this.#watch = null;
    this.#due = null;
    this.#asked = null;
    this.#silent = false;
    this.#socket = null;
    this.open = false;
  }

  #heard() {
    if (this.#silent) {
      this.#silent = false;
      this.#handler.onSilent(null);
    }
    this.#quiet();
  }

  /** Something was received: the next ping is due after a while of silence. */
  #quiet() {
    this.#asked = null;
    this.#dueIn(PING_EVERY_MS, () => this.#ping(PONG_WITHIN_MS));
  }

  /** As `#quiet`, but sooner; continuous typing does not postpone it. */
  #look(/** @type {number} */ ms) {
    const due = this.#world.now() + ms;
    if (this.#due !== null && this.#due <= due) return;
    this.#dueIn(ms, () => this.#ping(PONG_WITHIN_MS));
  }

  #ping(/** @type {number} */ within) {
    this.send(JSON.stringify({ type: 'ping', t: this.#world.now() }));
    this.#asked ??= this.#world.now();
    // To see below whether anything has left this machine since.
    this.#unsent = this.#socket?.bufferedAmount ?? 0;
    const told = Math.min(SILENT_AFTER_MS, within);
    this.#dueIn(told, () => {
      this.#silent = true;
      this.#handler.onSilent(this.#asked);
      this.#giveUpIn(within - told);
    });
  }

  /** Gives the connection up, unless sent bytes are still on their way out: a slow network is not a dead one. */
  #giveUpIn(/** @type {number} */ ms) {
    this.#dueIn(ms, () => {
      const unsent = this.#socket?.bufferedAmount ?? 0;
      if (unsent === 0 || unsent >= this.#unsent) this.#down(1006);
      else {
        this.#unsent = unsent;
        this.#giveUpIn(PONG_WITHIN_MS);
      }
    });
  }

  #expect(/** @type {number} */ within) {
    this.#dueIn(within, () => this.#down(1006));
  }

  #dueIn(/** @type {number} */ ms, /** @type {() => void} */ act) {
    this.#world.timers.clearTimeout(this.#watch);
    this.#due = this.#world.now() + ms;
    this.#watch = this.#world.timers.setTimeout(act, ms);
  }
}
