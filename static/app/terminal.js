// An xterm.js terminal in an element: adapts its size, follows the theme, takes and gives bytes.
import { FitAddon, Terminal, WebLinksAddon } from '../dist/xterm.js';
import { joinBytes, latin1, utf8 } from '../core/bytes.js';
import { cells } from '../core/cells.js';
import { Emitter } from '../core/events.js';
import { OutputLimiter } from '../core/limiter.js';
import { texts } from '../core/texts.js';
import { openAddress } from './address.js';
import { Composed } from './composed.js';
import { isMac, narrow } from './dom.js';
import { Flood } from './flood.js';
import { boundMeasuring } from './measure.js';
import { Pictures } from './pictures.js';
import { terminalColours } from './theme.js';
import { Touch } from './touch.js';

const SCROLLBACK = 10_000;
const MAX_SIZE = 1000; // columns or rows; the server allows fewer

// Questions of programs that the terminal answers as if the answer had been typed. While output is replayed that an
// earlier page has drawn, they have been answered: a second answer would be read by the program as input.
const QUERIES = [
  { final: 'c' }, { prefix: '>', final: 'c' }, { prefix: '=', final: 'c' }, // device attributes
  { final: 'n' }, { prefix: '?', final: 'n' }, // status, cursor position
  { intermediates: '$', final: 'p' }, { prefix: '?', intermediates: '$', final: 'p' }, // modes
  { prefix: '>', final: 'q' }, { final: 't' }, { final: 'x' }, { prefix: '?', final: 'u' }, { prefix: '?', final: 'S' },
];
const COLOUR_QUERIES = [4, 10, 11, 12];

/** @typedef {{textSize: number, screenReader: boolean}} Look of a terminal; `textSize` in pixels */

/**
 * Events: `input` bytes, `size`, `refused` (why a picture is not drawn), `drawn` (size of one that is).
 * @extends {Emitter<{input: Uint8Array, size: import('../core/types.js').Size, refused: string, drawn: number}>}
 */
export class TerminalView extends Emitter {
  #host;
  #fit = new FitAddon();
  #waiting = false; // a fit is due in the next frame
  #limiter = new OutputLimiter(() => this.size);
  #flood;
  /** @type {Uint8Array[]} */ #typed = []; // bytes that are emitted together at the end of the turn
  #composed;

  /**
   * @param {HTMLElement} host
   * @param {Look & {label: string, quiet(): boolean}} options `quiet`: whether questions in the output must not be answered now
   */
  constructor(host, { textSize, screenReader, label, quiet }) {
    super();
    this.#host = host;
    this.held = false; // the size is determined elsewhere: by a replay, or by the page in control
    Terminal.strings.tooMuchOutput = texts.program.tooMuchOutput;
    this.term = new Terminal({
      allowProposedApi: true, // the Unicode versions are proposed API still
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      cursorInactiveStyle: 'outline',
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue('--mono'),
      fontSize: textSize,
      lineHeight: 1.15,
      linkHandler: { activate: (_event, uri, range) => openAddress(uri, this.#textAt(range)), allowNonHttpProtocols: false },
      logLevel: 'off', // otherwise each invalid sequence of a program would be logged in the console
      minimumContrastRatio: 4.5,
      screenReaderMode: screenReader,
      scrollback: SCROLLBACK,
      // Erasing the screen must not fill the scrollback with blank lines.
      scrollOnEraseInDisplay: false,
      theme: terminalColours(),
    });
    this.term.loadAddon(this.#fit);
    this.term.loadAddon(new WebLinksAddon((_event, uri) => openAddress(uri, uri)));
    this.term.unicode.register(cells);
    // Widths as programs in the containers compute them.
    this.term.unicode.activeVersion = cells.version;
    this.term.open(host);
    boundMeasuring(this.term);
    this.#flood = new Flood(this.term, () => this.#limiter.atRest);
    this.pictures = new Pictures(this.term, (why) => this.emit('refused', why), (bytes) => this.emit('drawn', bytes));
    this.term.textarea?.setAttribute('aria-label', label);
    this.term.textarea?.setAttribute('enterkeyhint', 'enter');
    // A handler that returns true has handled the sequence, so the terminal does not answer.
    for (const query of QUERIES) this.term.parser.registerCsiHandler(query, () => quiet());
    for (const id of COLOUR_QUERIES) this.term.parser.registerOscHandler(id, (data) => quiet() && data.includes('?'));
    this.term.parser.registerDcsHandler({ intermediates: '$', final: 'q' }, () => quiet());
    this.term.parser.registerDcsHandler({ intermediates: '+', final: 'q' }, () => quiet());
    this.term.onData((data) => this.#given(utf8(data)));
    this.term.onBinary((data) => this.#given(latin1(data)));
    this.term.attachCustomKeyEventHandler((event) => this.#keys(event));
    this.#composed = new Composed(this.term);
    new Touch(this.term, host, { paste: (text) => {
      const composing = this.#composed.finish(); // xterm.js empties the text area
      this.term.paste(text);
      if (composing) this.focus();
    } });
    new ResizeObserver(() => this.refit()).observe(host);
    this.fit();
  }

  /** What is typed and what the terminal answers: all bytes of one turn are emitted together, as a flood of questions gives a flood of answers. */
  #given(/** @type {Uint8Array} */ bytes) {
    if (!bytes.length) return;
    this.#typed.push(bytes);
    if (this.#typed.length > 1) return;
    queueMicrotask(() => {
      const all = this.#typed;
      this.#typed = [];
      this.emit('input', all.length > 1 ? joinBytes(all) : all[0]);
    });
  }

  get size() {
    return { cols: this.term.cols, rows: this.term.rows };
  }

  get visible() {
    return this.#host.offsetWidth > 0 && getComputedStyle(this.#host).visibility !== 'hidden';
  }

  refit() {
    // At most once for each frame: a drag fires many events.
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.fit();
    });
  }

  fit() {
    // A hidden terminal has no size to adapt to.
    if (this.held || !this.visible) return;
    const proposed = this.#fit.proposeDimensions();
    // During a layout it may be too small for one cell.
    if (!proposed || !(proposed.cols > 1) || !(proposed.rows > 1)) return;
    const { cols, rows } = proposed;
    if (cols !== this.term.cols || rows !== this.term.rows) this.term.resize(cols, rows);
    this.emit('size', { cols, rows });
  }

  /** Takes the size of another terminal until `release`. */
  hold(/** @type {import('../core/types.js').Size} */ { cols, rows }) {
    this.held = true;
    this.term.resize(Math.min(MAX_SIZE, Math.max(2, cols)), Math.min(MAX_SIZE, Math.max(2, rows)));
  }

  release() {
    if (!this.held) return;
    this.held = false;
    this.fit();
  }

  /** Whether the alternate screen is shown, in which earlier output cannot be reached. */
  get alternate() {
    return this.term.buffer.active.type === 'alternate';
  }

  /** Another program is shown. */
  begin() {
    this.#flood.reset();
  }

  /**
   * @param {Uint8Array | string} data bytes of a program, or a text of ours
   * @param {() => void} [done] called when all of it is drawn
   */
  write(data, done) {
    const bytes = typeof data === 'string' ? utf8(data) : data;
    const pieces = this.#limiter.take(bytes);
    const last = pieces.pop() ?? '';
    for (const piece of pieces) this.term.write(piece);
    // The callback belongs to the last piece: then all of it is drawn.
    this.term.write(last, done);
    this.#flood.wrote(bytes.length);
  }

  /** Sends a key of the key bar: `normal`, or `application` in the application cursor mode. */
  press(/** @type {string} */ normal, application = normal) {
    this.#composed.finish(); // `focus` below restores the keyboard
    this.term.input(this.term.modes.applicationCursorKeysMode ? application : normal, true);
    this.focus();
  }

  focus() {
    this.term.focus();
  }

  set(/** @type {import('@xterm/xterm').ITerminalOptions} */ options) {
    Object.assign(this.term.options, options);
    this.refit();
  }

  /** All lines without empty ones at the end, for tests and for copying. */
  text() {
    const buffer = this.term.buffer.active;
    let text = '';
    for (let row = 0; row < buffer.length; row += 1) {
      const line = buffer.getLine(row);
      if (!line) break;
      text += (row && !line.isWrapped ? '\n' : '') + line.translateToString(!buffer.getLine(row + 1)?.isWrapped);
    }
    return text.replace(/\n+$/, '');
  }

  /** The text in a range of the screen, as links give it. */
  #textAt(/** @type {import('@xterm/xterm').IBufferRange} */ { start, end }) {
    let text = '';
    for (let y = start.y; y <= end.y; y += 1) {
      text += this.term.buffer.active.getLine(y - 1)?.translateToString(false, y === start.y ? start.x - 1 : 0, y === end.y ? end.x : undefined) ?? '';
    }
    return text;
  }

  #keys(/** @type {KeyboardEvent} */ event) {
    if (event.type !== 'keydown') return true;
    if (!this.#composed.takes(event)) return false;
    const plain = !event.altKey && !event.metaKey && event.ctrlKey;
    const key = event.key.toLowerCase();
    // On a Mac these keys are the command key's, and Ctrl belongs to the program.
    if (isMac || !plain) return true;
    if (key === 'v') return false; // the browser pastes
    // Without a selection Ctrl-C is the program's.
    if (key === 'c' && (event.shiftKey || this.term.hasSelection())) {
      event.preventDefault();
      this.#copy();
      return false;
    }
    return true;
  }

  #copy() {
    const text = this.term.getSelection();
    if (!text) return;
    // The old command also works where the permission is refused.
    if (navigator.clipboard) navigator.clipboard.writeText(text).catch(() => document.execCommand('copy'));
    else document.execCommand('copy'); // a page without TLS has no clipboard object
    this.term.clearSelection();
  }
}

/** Text sizes: on a phone columns matter more than size. */
export const terminalTextSize = (/** @type {number} */ size) => (narrow.matches ? size - 2 : size - 0.5);
