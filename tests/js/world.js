// A world for the client's core without a network or a clock: time moves when a test says so, chance has a seed.

export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class Clock {
  #timers = new Map();
  #next = 1;
  now = 0;

  setTimeout = (act, ms) => {
    this.#timers.set(this.#next, { act, at: this.now + ms });
    return this.#next++;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  get pending() {
    return this.#timers.size;
  }

  /** Moves on to the next timer at or before `until`; false where there is none. */
  step(until = Infinity) {
    let first = null;
    for (const [id, timer] of this.#timers) if (timer.at <= until && (!first || timer.at < first.at)) first = { id, ...timer };
    if (!first) return false;
    this.#timers.delete(first.id);
    this.now = Math.max(this.now, first.at);
    first.act();
    return true;
  }

  advance(ms) {
    const until = this.now + ms;
    while (this.step(until));
    this.now = until;
  }
}

/** A WebSocket whose other end is `server`: {accept(socket, url)}. Frames wait in flight until they are delivered. */
class FakeSocket {
  binaryType = 'blob';
  readyState = 0;
  toServer = [];
  toClient = [];

  constructor(server, url) {
    this.server = server;
    this.url = url;
  }

  send(data) {
    if (this.readyState !== 1) throw new Error('a frame was sent over a socket that is not open');
    this.toServer.push(typeof data === 'string' ? data : Uint8Array.from(data));
  }

  close() {
    this.drop(1005);
  }

  open() {
    this.readyState = 1;
    this.onopen?.({});
    this.server.accept(this, this.url);
  }

  deliverToServer() {
    if (this.toServer.length) this.server.receive(this, this.toServer.shift());
  }

  deliverToClient() {
    if (this.readyState !== 1 || !this.toClient.length) return;
    const data = this.toClient.shift();
    if (data.close) this.drop(data.close);
    else this.onmessage?.({ data: typeof data === 'string' ? data : data.buffer.slice(data.byteOffset, data.byteOffset + data.length) });
  }

  /** The connection is gone, with all that is in flight. */
  drop(code = 1006) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.toServer = [];
    this.toClient = [];
    this.server.lost(this);
    this.onclose?.({ code });
  }
}

export class World {
  clock = new Clock();
  sockets = [];

  constructor(server, seed = 1) {
    this.server = server;
    this.random = chance(seed);
    this.timers = this.clock;
  }

  now = () => this.clock.now;
  url = (session) => (session === null ? 'ws' : `ws/${session}`);
  fill = (bytes) => bytes.map(() => Math.floor(this.random() * 256));
  connect = (url) => {
    const socket = new FakeSocket(this.server, url);
    this.sockets.push(socket);
    this.timers.setTimeout(() => socket.readyState === 0 && socket.open(), 1);
    return socket;
  };

  get socket() {
    return this.sockets.at(-1);
  }

  /** Delivers everything in flight, both ways, and lets short timers run, until nothing moves. */
  settle(ms = 200) {
    const until = this.clock.now + ms;
    for (;;) {
      while (this.socket && this.socket.readyState === 1 && this.socket.toServer.length + this.socket.toClient.length) {
        this.socket.deliverToServer();
        this.socket.deliverToClient();
        this.server.flow();
      }
      if (!this.clock.step(until)) break;
    }
  }
}
