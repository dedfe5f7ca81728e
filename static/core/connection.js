// A WebSocket that comes back: connects, hands frames on, notices silence, and connects again after a loss.
// It knows nothing of sessions; `target()` says where to connect each time.
import { PROTOCOL } from './codec.js';
import { waitAfter } from './retry.js';

const CONNECT_MS = 15_000;
const PING_EVERY_MS = 15_000;
const PONG_WITHIN_MS = 10_000;
const HURRY_MS = 4_000;

/**
 * `handler`: onOpen(), onText(string), onBinary(ArrayBuffer), onDown({code, retryInMs}) — retryInMs null: it stops.
 * `world`: {connect(url, protocol) -> WebSocket, timers, random(), now()}.
 */
export class Connection {
  #world;
  #target;
  #handler;
  #socket = null;
  #timer = null;
  #watch = null;
  #attempt = 0;
  #lastError = null;

  constructor(world, target, handler) {
    this.#world = world;
    this.#target = target;
    this.#handler = handler;
    this.open = false;
    this.rttMs = null;
  }

  start() {
    this.#clear();
    let socket;
    try {
      socket = this.#world.connect(this.#target(), PROTOCOL);
    } catch {
      this.#down(1006);
      return;
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#expect(CONNECT_MS);
    const mine = (act) => (event) => this.#socket === socket && act(event);
    socket.onopen = mine(() => {
      this.open = true;
      this.#quiet();
      this.#handler.onOpen();
    });
    socket.onmessage = mine(({ data }) => {
      this.#quiet();
      if (typeof data === 'string') this.#handler.onText(data);
      else this.#handler.onBinary(data);
    });
    socket.onclose = mine(({ code }) => this.#down(code));
    socket.onerror = () => {}; // a close follows
  }

  /** The session is established: the next loss starts counting from the beginning. */
  settled() {
    this.#attempt = 0;
    this.#lastError = null;
  }

  /** What the server gave as the reason of a close to come. */
  failed(error) {
    this.#lastError = error;
  }

  send(data) {
    if (this.open) this.#socket.send(data);
  }

  pong(t) {
    this.rttMs = Math.max(0, this.#world.now() - t);
  }

  /** The network or the page came back: see at once whether the connection still lives, or try at once. */
  hurry() {
    if (this.open) {
      this.#ping(HURRY_MS);
    } else if (this.#timer !== null) {
      this.start();
    }
  }

  /** Drops a connection that is not to be trusted, and connects again. */
  reset() {
    if (this.#socket) this.#down(1006);
  }

  /** For good. */
  stop(code = 1000) {
    const socket = this.#socket;
    this.#clear();
    socket?.close(code);
  }

  #down(code) {
    const socket = this.#socket;
    this.#clear();
    if (socket && socket.readyState < 2) socket.close(); // it may still speak: nobody listens to it any more
    const retryInMs = waitAfter(code, this.#lastError, this.#attempt, this.#world.random);
    this.#attempt += 1;
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
    this.#socket = null;
    this.open = false;
  }

  /** Something was heard: ping after a while of silence. */
  #quiet() {
    this.#world.timers.clearTimeout(this.#watch);
    this.#watch = this.#world.timers.setTimeout(() => this.#ping(PONG_WITHIN_MS), PING_EVERY_MS);
  }

  #ping(within) {
    this.send(JSON.stringify({ type: 'ping', t: this.#world.now() }));
    this.#expect(within);
  }

  #expect(within) {
    this.#world.timers.clearTimeout(this.#watch);
    this.#watch = this.#world.timers.setTimeout(() => this.#down(1006), within);
  }
}
