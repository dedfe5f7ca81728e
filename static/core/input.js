// The input of a program: bytes are kept until the server confirms that they reached it (`in_ack`), so that they can be
// sent again after a lost connection. At most WINDOW bytes are on the way beyond that; the rest waits here.

export const WINDOW = 65_536;
// Small enough that a Ctrl-C is not delayed by a long frame.
export const FRAME = 16_384;
// Of a paste or a file; more is refused.
const MAX_KEPT = 32 * 1024 * 1024;

/** Input of one channel. `send(offset, payload)` puts a frame on the wire. */
export class Input {
  /** @type {{offset: number, bytes: Uint8Array, room: Uint8Array}[]} */ #chunks = []; // {offset, bytes, room: the buffer in which `bytes` may grow}, consecutive, from `acked` to `end`
  #held = false; // the server's window is full: waits for its next in_ack

  constructor(offset = 0) {
    this.acked = offset;
    this.sent = offset;
    this.end = offset;
    this.eof = false;
  }

  get kept() {
    return this.end - this.acked;
  }

  /** Takes bytes; false if too many are waiting already. */
  push(/** @type {Uint8Array} */ bytes) {
    if (this.eof || this.kept + bytes.length > MAX_KEPT) return false;
    if (bytes.length) this.#keep(bytes);
    this.end += bytes.length;
    return true;
  }

  /** Small pieces are joined: a terminal that is asked 200,000 times answers as often. */
  #keep(/** @type {Uint8Array} */ bytes) {
    const last = this.#chunks.at(-1);
    if (last && last.room.length - last.bytes.length >= bytes.length) {
      last.room.set(bytes, last.bytes.length);
      last.bytes = last.room.subarray(0, last.bytes.length + bytes.length);
      return;
    }
    // Only small pieces after others get room to grow: a single large one is kept as it is.
    const room = bytes.length < FRAME && this.#chunks.length ? new Uint8Array(FRAME) : bytes;
    if (room !== bytes) room.set(bytes);
    this.#chunks.push({ offset: this.end, bytes: room.subarray(0, bytes.length), room });
  }

  /** Sends what the window allows. */
  pump(/** @type {(offset: number, payload: Uint8Array) => void} */ send) {
    if (this.#held) return;
    const limit = Math.min(this.end, this.acked + WINDOW);
    while (this.sent < limit) {
      const payload = this.#slice(this.sent, Math.min(limit, this.sent + FRAME));
      send(this.sent, payload);
      this.sent += payload.length;
    }
  }

  /** Every byte below `offset` has reached the program. */
  ack(/** @type {number} */ offset) {
    this.#held = false;
    if (offset <= this.acked) return;
    this.acked = Math.min(offset, this.end);
    this.sent = Math.max(this.sent, this.acked);
    while (this.#chunks.length && this.#chunks[0].offset + this.#chunks[0].bytes.length <= this.acked) this.#chunks.shift();
  }

  /** The server asks for `offset` again; `full`: it dropped bytes because its window was full. */
  rewind(/** @type {number} */ offset, { full = false } = {}) {
    this.#held = full && offset > this.acked;
    if (offset >= this.acked && offset <= this.sent) this.sent = offset;
  }

  /** A new connection: the server has everything below `offset`. */
  resume(/** @type {number} */ offset) {
    this.#held = false;
    if (offset > this.end) this.restart(offset); // another attachment typed meanwhile
    else this.sent = Math.max(offset, this.acked);
  }

  /** Forgets what is waiting: another attachment has written, and our next byte is at `offset`. */
  restart(/** @type {number} */ offset) {
    this.#chunks = [];
    this.#held = false;
    this.acked = offset;
    this.sent = offset;
    this.end = offset;
  }

  /** The program has ended: drops what it has not read. */
  drop() {
    this.#chunks = [];
    this.acked = this.sent = this.end;
  }

  /** What a page that ends leaves for the next one. */
  unacked() {
    return { offset: this.acked, bytes: this.#slice(this.acked, this.end) };
  }

  #slice(/** @type {number} */ from, /** @type {number} */ to) {
    const parts = [];
    for (const { offset, bytes } of this.#chunks) {
      if (offset >= to) break;
      if (offset + bytes.length <= from) continue;
      parts.push(bytes.subarray(Math.max(0, from - offset), Math.min(bytes.length, to - offset)));
    }
    if (parts.length === 1) return parts[0];
    const whole = new Uint8Array(to - from);
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}
