// One program of a session: its output with cursors, its input with retransmission, its end.
//
// received: every output byte below it has arrived, which is the cursor of this page's next attachment. consumed: every
// output byte below it has been drawn, which is what is acknowledged.
//
// `port` is the session's side.
import { Emitter } from './events.js';
import { Input } from './input.js';

const ACK_EVERY = 64 * 1024; // bytes; the program may be 256 KiB ahead of what is acked
// So that a slow trickle of output is acknowledged as well.
const ACK_WITHIN_MS = 50;

/** @typedef {import('./messages.js').Run | import('./messages.js').Shell} Request that began a channel */

/** @param {{cols?: number | null, rows?: number | null} | null} told @returns {import('./types.js').Size | null} */
const sizeOf = (told) => (told?.cols && told.rows ? { cols: told.cols, rows: told.rows } : null);

/**
 * Events: `output` {payload, offset, stream}, `gap` {from, to, restore}, `phase`, `exit` (the message),
 * `taken` (the program's side has input that was written), `stopped` (the cause, or null), `resized` {cols, rows}, `diagnostics` items, `artifact`, `lost` (the refusing error, or null).
 * @typedef {{output: {payload: Uint8Array, offset: number, stream: number}, gap: {from: number, to: number, restore: string | null},
 *   taken: undefined, phase: string, exit: import('./messages.js').Exit, stopped: Holder, resized: import('./types.js').Size,
 *   diagnostics: import('./messages.js').Diagnostic[], artifact: import('./messages.js').Artifact, lost: import('./messages.js').ErrorMessage | null}} Events
 * @typedef {import('./messages.js').Stopped['by']} Holder what has stopped a program
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
   *   `request` is the `run` or `shell` message that began it; null if the channel was found on attaching
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
    this.held = false; // its request is not to be sent yet
    this.received = received;
    this.consumed = received;
    this.replayUntil = 0; // the end of the output when this page attached
    this.quietUntil = quietUntil; // below it, the terminal of an earlier page has answered queries
    this.input = new Input();
    /** @type {Holder} */ this.stopped = null;
    /** @type {import('./messages.js').Exit | null} */ this.exit = null;
    this.exitAcked = false; // its end was shown and acknowledged
    this.killAsked = false;
    /** @type {import('./types.js').Size | null} */ this.size = sizeOf(request);
    this.#acked = received;
  }

  /** Whether the server can be told something about it now. */
  get #heard() {
    return this.#port.up && !this.held;
  }

  get live() {
    return this.phase !== 'ended' && this.phase !== 'lost';
  }

  get running() {
    return this.live && this.phase !== 'exited';
  }

  // --- output ---------------------------------------------------------------------------------------------

  /** Takes a frame. Bytes that are known are cut off; false if bytes are missing before it. */
  take(/** @type {{offset: number, stream: number, payload: Uint8Array}} */ { offset, stream, payload }) {
    if (offset > this.received) return false;
    // A new attachment may repeat the end of what this page has.
    const fresh = payload.subarray(Math.min(payload.length, this.received - offset));
    if (!fresh.length) return true;
    const at = this.received;
    this.received += fresh.length;
    this.emit('output', { payload: fresh, offset: at, stream });
    return true;
  }

  skip(/** @type {{from: number, to: number, restore?: string | null}} */ { from, to, restore = null }) {
    // A gap that lies behind what was received is of an earlier attachment.
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

  /** The end has been shown: the server may drop the channel. */
  consumeExit() {
    if (!this.exit || this.exitAcked) return;
    this.#ack(true);
  }

  #ack(exit = false) {
    this.#port.timers.clearTimeout(this.#timer);
    this.#timer = null;
    // While disconnected nothing is lost: the next attachment's cursor acknowledges as well.
    if (!this.#port.up || (this.consumed <= this.#acked && !exit)) return;
    this.#acked = Math.max(this.#acked, this.consumed);
    if (exit) this.exitAcked = true;
    this.#port.send({ type: 'ack', channel: this.id, offset: this.consumed, ...(exit ? { exit: true } : {}) });
  }

  // --- input ----------------------------------------------------------------------------------------------

  /** Sends bytes to the program; false if they cannot be accepted (watching, ended, too many are waiting). */
  write(/** @type {Uint8Array} */ bytes) {
    if (!this.running || !this.#port.control) return false;
    if (!this.input.push(bytes)) return false;
    this.pump();
    return true;
  }

  /** Closes the program's standard input after what was written (pipes; on a terminal, Ctrl-D is input). */
  end() {
    if (this.mode === 'tty') return this.write(Uint8Array.of(4));
    if (!this.running || !this.#port.control || this.input.eof) return false;
    this.input.eof = true;
    this.#sendEof();
    return true;
  }

  pump() {
    if (!this.#heard || !this.#port.control || !this.running) return;
    this.input.pump((offset, payload) => this.#port.sendInput(this.id, offset, payload));
  }

  #sendEof() {
    if (this.#heard && this.#port.control) this.#port.send({ type: 'eof', channel: this.id, offset: this.input.end });
  }

  /** Its request was sent just now: what was written before follows from its beginning, and the end of it. */
  follow() {
    this.rewind(this.input.acked);
    if (this.input.eof) this.#sendEof();
  }

  acked(/** @type {number} */ offset) {
    this.input.ack(offset);
    this.pump();
    this.emit('taken');
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
    // If it is started again after a reconnect, then with the present size.
    if (this.request && sizeOf(this.request)) this.request = { ...this.request, cols, rows };
    if (this.#heard) this.#port.send({ type: 'resize', channel: this.id, cols, rows });
  }

  signal(/** @type {import('./messages.js').Signal['name']} */ name) {
    if (this.running && this.#heard) this.#port.send({ type: 'signal', channel: this.id, name });
  }

  kill() {
    if (!this.running) return;
    this.killAsked = true; // repeated after a reconnect
    if (this.#heard) this.#port.send({ type: 'kill', channel: this.id });
  }

  // --- messages of the server -------------------------------------------------------------------------------

  enter(/** @type {Phase} */ phase) {
    this.begun = true;
    this.#forgetFiles(); // the start is confirmed, so they are not sent again
    if (!this.live || phase === this.phase) return;
    const asked = this.phase === 'asked';
    this.phase = phase;
    this.emit('phase', phase);
    if (asked && this.killAsked) this.kill(); // requested before the server knew the channel
  }

  finish(/** @type {import('./messages.js').Exit} */ message) {
    if (this.exit) {
      if (this.exitAcked) this.#ack(true); // the ack was lost with a connection
      return;
    }
    this.exit = message;
    this.phase = 'ended';
    this.input.drop(); // the program cannot read it any more
    this.emit('exit', message);
  }

  /** @param by what has stopped the program: a signal's name, `output` (its terminal holds output back), or null */
  standStill(/** @type {Holder} */ by) {
    this.stopped = by;
    this.emit('stopped', by);
  }

  setSize(/** @type {number} */ cols, /** @type {number} */ rows) {
    this.size = { cols, rows };
    this.emit('resized', this.size);
  }

  /** This page has attached again, and the server knows the channel. `view` is its part of `attached`. */
  reattach(/** @type {import('./messages.js').ChannelView} */ view) {
    this.input.resume(view.input_offset);
    this.#acked = Math.max(this.#acked, this.received); // the cursor that was sent acknowledges as well
    if (this.size && this.#port.control && (view.cols !== this.size.cols || view.rows !== this.size.rows)) {
      this.#port.send({ type: 'resize', channel: this.id, ...this.size });
    }
    this.#settle(view);
    if (this.exitAcked) this.#ack(true);
  }

  /**
   * A channel that was found on attaching.
   * @param {import('./messages.js').ChannelView} view
   * @param {{offset: number, bytes: Uint8Array, eof: boolean} | null} unacked input of an earlier page: its offset, bytes, and whether it ended
   */
  adopt(view, unacked = null) {
    this.replayUntil = view.to;
    this.size = sizeOf(view);
    if (unacked) {
      this.input = new Input(unacked.offset);
      // Sent again from where the server has it; the rest is known there.
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
    // The end of the input after the input itself.
    this.pump();
    if (view.input_eof) this.input.eof = true;
    else if (this.input.eof) this.#sendEof();
    if (this.killAsked) this.kill();
  }

  /** The channel cannot be followed any more: refused (`error` says why), dropped by the server, or the session has ended. */
  lose(/** @type {import('./messages.js').ErrorMessage | null} */ error = null) {
    if (!this.live) return;
    this.phase = 'lost';
    this.#forgetFiles();
    this.emit('lost', error);
  }

  // They may have megabytes, and are not needed any more.
  #forgetFiles() {
    if (this.request?.type === 'run' && this.request.files) this.request = { ...this.request, files: undefined };
  }

  dispose() {
    this.#port.timers.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
