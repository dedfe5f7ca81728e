// One program of a session: its output with cursors, its input with retention, its end.
//
//   received   every output byte below it came over the wire: the cursor of a new attachment of this page
//   consumed   every output byte below it has been drawn: what is acked, and nothing more
//
// `port` is the session's side.
import { Emitter } from './events.js';
import { Input } from './input.js';

const ACK_EVERY = 64 * 1024; // bytes; the program may be 256 KiB ahead of what is acked
const ACK_WITHIN_MS = 50;

/** @typedef {import('./messages.js').Run | import('./messages.js').Shell} Request that began a channel */

/** @param {{cols?: number | null, rows?: number | null} | null} told @returns {import('./types.js').Size | null} */
const sizeOf = (told) => (told?.cols && told.rows ? { cols: told.cols, rows: told.rows } : null);

/**
 * Events: `output` {payload, offset, stream}, `gap` {from, to, restore}, `phase`, `exit` (the message),
 * `stopped` (by what, or null), `resized` {cols, rows}, `diagnostics` items, `artifact`, `lost` (the refusing error, or null).
 * @typedef {{output: {payload: Uint8Array, offset: number, stream: number}, gap: {from: number, to: number, restore: string | null},
 *   phase: string, exit: import('./messages.js').Exit, stopped: Holder, resized: import('./types.js').Size,
 *   diagnostics: import('./messages.js').Diagnostic[], artifact: import('./messages.js').Artifact, lost: import('./messages.js').ErrorMessage | null}} Events
 * @typedef {import('./messages.js').Stopped['by']} Holder what makes a program stand still
 * @typedef {'asked' | 'compiling' | 'running' | 'exited' | 'ended' | 'lost'} Phase
 * @extends {Emitter<Events>}
 */
export class Channel extends Emitter {
  #port;
  /** @type {number | null} of `timers` */ #timer = null;
  #acked = 0;

  /**
   * @param {import('./types.js').Port} port
   * @param {{id: number, kind: 'run' | 'shell', mode: 'tty' | 'pipe', request?: Request | null, received?: number, quietUntil?: number}} begun
   *   `request` is the `run` or `shell` message that began it; null where it was found on attaching
   */
  constructor(port, { id, kind, mode, request = null, received = 0, quietUntil = 0 }) {
    super();
    this.#port = port;
    this.id = id;
    this.kind = kind; // run or shell
    this.mode = mode; // tty or pipe
    this.shown = true; // false: a channel of an earlier run that no terminal shows any more
    this.request = request;
    /** @type {Phase} */ this.phase = 'asked'; // exited: output may still come
    this.begun = false; // the server has confirmed it
    this.received = received;
    this.consumed = received;
    this.replayUntil = 0; // what was produced when this page attached
    this.quietUntil = quietUntil; // below it, an earlier page's terminal answered queries already
    this.input = new Input();
    /** @type {Holder} */ this.stopped = null;
    /** @type {import('./messages.js').Exit | null} */ this.exit = null;
    this.exitAcked = false; // its end was shown, and the server told so
    this.killAsked = false;
    /** @type {import('./types.js').Size | null} */ this.size = sizeOf(request);
    this.#acked = received;
  }

  get live() {
    return this.phase !== 'ended' && this.phase !== 'lost';
  }

  get running() {
    return this.live && this.phase !== 'exited';
  }

  // --- output ---------------------------------------------------------------------------------------------

  /** A frame came. What was had before is cut off; false where bytes are missing before it. */
  take(/** @type {{offset: number, stream: number, payload: Uint8Array}} */ { offset, stream, payload }) {
    if (offset > this.received) return false;
    const fresh = payload.subarray(Math.min(payload.length, this.received - offset));
    if (!fresh.length) return true;
    const at = this.received;
    this.received += fresh.length;
    this.emit('output', { payload: fresh, offset: at, stream });
    return true;
  }

  skip(/** @type {{from: number, to: number, restore?: string | null}} */ { from, to, restore = null }) {
    if (to <= this.received) return;
    const gap = { from: Math.max(from, this.received), to, restore };
    this.received = to;
    this.emit('gap', gap);
  }

  /** Everything below `offset` has been drawn. Called from the terminal's completion callback. */
  consume(/** @type {number} */ offset) {
    if (offset <= this.consumed) return;
    this.consumed = offset;
    if (this.consumed - this.#acked >= ACK_EVERY) this.#ack();
    else this.#timer ??= this.#port.timers.setTimeout(() => this.#ack(), ACK_WITHIN_MS);
  }

  /** The end has been shown: the server may forget the channel. */
  consumeExit() {
    if (!this.exit || this.exitAcked) return;
    this.#ack(true);
  }

  #ack(exit = false) {
    this.#port.timers.clearTimeout(this.#timer);
    this.#timer = null;
    if (!this.#port.up || (this.consumed <= this.#acked && !exit)) return;
    this.#acked = Math.max(this.#acked, this.consumed);
    if (exit) this.exitAcked = true;
    this.#port.send({ type: 'ack', channel: this.id, offset: this.consumed, ...(exit ? { exit: true } : {}) });
  }

  // --- input ----------------------------------------------------------------------------------------------

  /** Bytes for the program; false where they cannot be taken (watching, ended, too much waits). */
  write(/** @type {Uint8Array} */ bytes) {
    if (!this.running || !this.#port.control) return false;
    if (!this.input.push(bytes)) return false;
    this.pump();
    return true;
  }

  /** Closes the program's standard input behind what was written (pipes; on a terminal, Ctrl-D is input). */
  end() {
    if (this.mode === 'tty') return this.write(Uint8Array.of(4));
    if (!this.running || !this.#port.control || this.input.eof) return false;
    this.input.eof = true;
    this.#sendEof();
    return true;
  }

  pump() {
    if (!this.#port.up || !this.#port.control || !this.running) return;
    this.input.pump((offset, payload) => this.#port.sendInput(this.id, offset, payload));
  }

  #sendEof() {
    if (this.#port.up && this.#port.control) this.#port.send({ type: 'eof', channel: this.id, offset: this.input.end });
  }

  acked(/** @type {number} */ offset) {
    this.input.ack(offset);
    this.pump();
  }

  rewind(/** @type {number} */ offset, /** @type {{full?: boolean}} */ options = {}) {
    this.input.rewind(offset, options);
    this.pump();
  }

  // --- control --------------------------------------------------------------------------------------------

  resize(/** @type {number} */ cols, /** @type {number} */ rows) {
    if (this.mode !== 'tty' || !this.running || !this.#port.control) return;
    if (this.size?.cols === cols && this.size?.rows === rows) return;
    this.size = { cols, rows };
    if (this.request && sizeOf(this.request)) this.request = { ...this.request, cols, rows };
    if (this.#port.up) this.#port.send({ type: 'resize', channel: this.id, cols, rows });
  }

  signal(/** @type {import('./messages.js').Signal['name']} */ name) {
    if (this.running && this.#port.up) this.#port.send({ type: 'signal', channel: this.id, name });
  }

  kill() {
    if (!this.running) return;
    this.killAsked = true; // repeated after a reconnect: a stop is not lost with the connection
    if (this.#port.up) this.#port.send({ type: 'kill', channel: this.id });
  }

  // --- what the server says -------------------------------------------------------------------------------

  enter(/** @type {Phase} */ phase) {
    this.begun = true;
    this.#forgetFiles(); // it is not asked again
    if (!this.live || phase === this.phase) return;
    const asked = this.phase === 'asked';
    this.phase = phase;
    this.emit('phase', phase);
    if (asked && this.killAsked) this.kill(); // it was asked for before the server knew of it
  }

  finish(/** @type {import('./messages.js').Exit} */ message) {
    if (this.exit) {
      if (this.exitAcked) this.#ack(true); // the ack was lost with a connection
      return;
    }
    this.exit = message;
    this.phase = 'ended';
    this.input.drop(); // nobody takes what waits
    this.emit('exit', message);
  }

  /** @param by what makes the program stand still: a signal's name, `output` (its terminal holds it), or null */
  standStill(/** @type {Holder} */ by) {
    this.stopped = by;
    this.emit('stopped', by);
  }

  setSize(/** @type {number} */ cols, /** @type {number} */ rows) {
    this.size = { cols, rows };
    this.emit('resized', this.size);
  }

  /** A new attachment of this page was made, and the server knows the channel. `view` is its part of `attached`. */
  reattach(/** @type {import('./messages.js').ChannelView} */ view) {
    this.input.resume(view.input_offset);
    this.#acked = Math.max(this.#acked, this.received); // the cursor that was sent is an ack
    if (this.size && this.#port.control && (view.cols !== this.size.cols || view.rows !== this.size.rows)) {
      this.#port.send({ type: 'resize', channel: this.id, ...this.size });
    }
    this.#settle(view);
    if (this.exitAcked) this.#ack(true);
  }

  /**
   * A channel that was found on attaching.
   * @param {import('./messages.js').ChannelView} view
   * @param {{offset: number, bytes: Uint8Array, eof: boolean} | null} unacked what an earlier page had written: its offset, bytes, and whether it ended
   */
  adopt(view, unacked = null) {
    this.replayUntil = view.to;
    this.size = sizeOf(view);
    if (unacked) {
      this.input = new Input(unacked.offset);
      this.input.push(unacked.bytes);
      this.input.eof = unacked.eof;
      this.input.resume(view.input_offset);
    } else {
      this.input = new Input(view.input_offset);
    }
    this.#settle(view);
  }

  #settle(/** @type {import('./messages.js').ChannelView} */ view) {
    this.enter(view.phase);
    this.pump();
    if (view.input_eof) this.input.eof = true;
    else if (this.input.eof) this.#sendEof();
    if (this.killAsked) this.kill();
  }

  /** It cannot be followed any further: refused (`error` says why), forgotten, or its session is over. */
  lose(/** @type {import('./messages.js').ErrorMessage | null} */ error = null) {
    if (!this.live) return;
    this.phase = 'lost';
    this.#forgetFiles();
    this.emit('lost', error);
  }

  #forgetFiles() {
    if (this.request?.type === 'run' && this.request.files) this.request = { ...this.request, files: undefined };
  }

  dispose() {
    this.#port.timers.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
