// A program or shell that runs on a server.
import { utf8 } from '../../static/core/bytes.js';
import { STDERR } from '../../static/core/codec.js';
import { WINDOW } from '../../static/core/input.js';
import { SIGNALS } from '../../static/core/messages.js';
import { Refused } from './refused.js';
import { bytesOf } from './content.js';

/** @typedef {import('../../static/core/messages.js').Exit} Exit */
/** @typedef {import('../../static/core/messages.js').Signal['name']} SignalName */
/**
 * A piece of output. `stream`: a terminal's is all `stdout`. `text`: the bytes as UTF-8; a character that is split between two
 * pieces is in the later one; one that is never completed is U+FFFD in a last piece without bytes. `lost`: bytes that are missing before this piece, of a terminal whose program printed more than is
 * kept while the server was away; 0 else.
 * @typedef {{stream: 'stdout' | 'stderr', bytes: Uint8Array, text: string, lost: number}} Output
 */

const [FEWEST, MOST] = [2, 1000]; // columns or rows of a terminal
const isSide = (/** @type {unknown} */ number) => Number.isInteger(number) && Number(number) >= FEWEST && Number(number) <= MOST;

/** Iterate over it for its output, until it has ended. A wrong call throws Refused, and the program goes on. */
export class Program {
  #channel;
  /** @type {{output: Output, end: number}[]} */ #pieces = []; // the server sends at most 256 KiB that were not confirmed
  #lost = 0;
  #texts = { stdout: new TextDecoder('utf-8', { ignoreBOM: true }), stderr: new TextDecoder('utf-8', { ignoreBOM: true }) };
  /** @type {Refused | null} */ #refused = null;
  /** @type {Set<() => void>} */ #waiting = new Set();

  /** @param {import('../../static/core/channel.js').Channel} channel @param {() => Refused} why of its session, once that is over */
  constructor(channel, why) {
    this.#channel = channel;
    channel.on('output', ({ payload, offset, stream }) => this.#take(stream === STDERR ? 'stderr' : 'stdout', payload, offset + payload.length));
    channel.on('gap', ({ from, to, restore }) => {
      this.#lost += to - from;
      this.#take('stdout', utf8(restore ?? ''), to);
    });
    channel.on('exit', () => this.#end());
    channel.on('taken', () => this.#wake());
    channel.on('lost', (error) => {
      this.#refused = error ? new Refused(error.message, error.code, error.retryable) : why();
      this.#end();
    });
  }

  /** Yields the output as it comes. A piece is confirmed to the server when the next one is asked for. @returns {AsyncGenerator<Output, void, void>} throws Refused */
  async* [Symbol.asyncIterator]() {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece) {
        yield piece.output;
        this.#channel.consume(piece.end);
      } else if (this.#channel.exit) {
        this.#channel.consumeExit();
        return;
      } else if (this.#refused) throw this.#refused;
      else await this.#next();
    }
  }

  /** How it ended; null before that. @returns {Exit | null} */
  get exit() {
    return this.#channel.exit;
  }

  /**
   * Sends input; returns when the program has taken so much of it that at most 64 KiB wait. What it has not taken when it ends is
   * dropped. Throws Refused if it has ended already or takes none, or for what is neither text nor bytes.
   */
  async send(/** @type {string | Uint8Array} */ data) {
    const bytes = bytesOf(data, 'the input');
    this.#check();
    if (!this.#channel.running) throw new Refused('the program has ended, and takes no input', 'no_channel');
    for (let at = 0; at < bytes.length && this.#channel.running; at += WINDOW) {
      if (!this.#channel.write(bytes.slice(at, at + WINDOW))) throw new Refused('the program takes no input', 'no_channel');
      while (this.#channel.running && this.#channel.input.kept > WINDOW) await this.#next();
    }
  }

  /** Closes its standard input; on a terminal, types Ctrl-D. Throws Refused if it cannot be followed any more. */
  endInput() {
    this.#check();
    this.#channel.end();
  }

  /** Sets the size of its terminal: 2 to 1000 columns and rows. Throws Refused for another, and as `endInput`. */
  resize(/** @type {number} */ cols, /** @type {number} */ rows) {
    if (!isSide(cols) || !isSide(rows)) throw new Refused(`a terminal has ${FEWEST} to ${MOST} columns and rows, not ${cols} and ${rows}`, 'bad_message');
    this.#check();
    this.#channel.resize(cols, rows);
  }

  /** Sends a signal, by its name without SIG; none while the server is away. Throws Refused for one that there is not, and as `endInput`. */
  signal(/** @type {SignalName} */ name) {
    if (!SIGNALS.includes(name)) throw new Refused(`there is no signal ${name}; there are ${SIGNALS.join(', ')}`, 'bad_message');
    this.#check();
    this.#channel.signal(name);
  }

  /** Ends it, with all processes that it began. */
  kill() {
    this.#channel.kill();
  }

  #take(/** @type {'stdout' | 'stderr'} */ stream, /** @type {Uint8Array} */ bytes, /** @type {number} */ end) {
    const text = this.#texts[stream].decode(bytes, { stream: true });
    this.#pieces.push({ output: { stream, bytes, text, lost: this.#lost }, end });
    this.#lost = 0;
    this.#wake();
  }

  /** No more output comes. */
  #end() {
    for (const stream of /** @type {const} */ (['stdout', 'stderr'])) {
      const text = this.#texts[stream].decode(); // of a character that was not completed
      if (text) this.#pieces.push({ output: { stream, bytes: new Uint8Array(), text, lost: 0 }, end: this.#channel.received });
    }
    this.#wake();
  }

  /** Throws Refused if it cannot be followed any more. */
  #check() {
    if (this.#refused) throw this.#refused;
  }

  /** @returns {Promise<void>} */
  #next() {
    return new Promise((resolve) => { this.#waiting.add(resolve); });
  }

  #wake() {
    for (const resume of this.#waiting) resume();
    this.#waiting.clear();
  }
}
