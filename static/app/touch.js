// Touch on a terminal: a drag scrolls, a long press selects, a drag after it extends the selection. xterm.js 6.0
// handles mice and wheels only. Only its public interface is used, so a version with touch of its own breaks nothing.
import { texts } from '../core/texts.js';
import { el, targetOf } from './dom.js';

const SLOP = 8; // pixels that a finger moves before it is a drag
// As long as the browsers' own long press, about.
const HOLD_MS = 450;
const SLOWING = 0.967; // of the speed remains after each sixtieth of a second
const SLOWEST = 0.05; // pixels a millisecond
const EDGE = 24; // pixels at the top and the bottom, in which a selection scrolls
const EDGE_MS = 60;
const STILL = matchMedia('(prefers-reduced-motion: reduce)');

/**
 * @typedef {{id: number, x: number, y: number, mode: 'wait' | 'scroll' | 'select', rest: number, speed: number, at: number,
 *   hold?: ReturnType<typeof setTimeout>, edge?: ReturnType<typeof setInterval>, anchor: {from: number, to: number}}} Finger
 *   `rest`: pixels below one line; `speed` in pixels a millisecond; `anchor`: cells of the word with which the selection began
 */

export class Touch {
  #term;
  #host;
  /** @type {Finger | null} */ #finger = null;
  #gliding = 0;
  #tools;
  #copyTool;
  #pasteTool;

  /** @param {import('@xterm/xterm').Terminal} term @param {HTMLElement} host @param {{paste(text: string): void}} acts `paste`: called with text to be typed */
  constructor(term, host, { paste }) {
    this.#term = term;
    this.#host = host;
    // Without taking the focus from the terminal, which would close the keyboard.
    const tool = (/** @type {string} */ label, /** @type {() => unknown} */ act) => el('button', { type: 'button', textContent: label, on: { click: act, pointerdown: (event) => event.preventDefault() } });
    this.#copyTool = tool(texts.keys.copy, () => this.#copy());
    this.#pasteTool = tool(texts.keys.paste, () => this.#paste(paste));
    this.#tools = el('div', { className: 'touch-tools', hidden: true, attrs: { role: 'toolbar', 'aria-label': texts.keys.selection } }, this.#copyTool, this.#pasteTool);
    host.after(this.#tools);
    /** @template {keyof HTMLElementEventMap} Type @param {Type} type @param {(event: HTMLElementEventMap[Type]) => unknown} act */
    // Not passive, as the page must not scroll; in the capture phase, before xterm.js.
    const hear = (type, act) => host.addEventListener(type, act, { passive: false, capture: true });
    hear('touchstart', (event) => this.#down(event));
    hear('touchmove', (event) => this.#move(event));
    hear('touchend', (event) => this.#up(event));
    hear('touchcancel', () => this.#drop());
    hear('contextmenu', (event) => this.#finger && event.preventDefault()); // a long press selects here instead
    term.onSelectionChange(() => !this.#finger && !term.hasSelection() && this.#hideTools());
    term.onData(() => this.#hideTools());
  }

  #down(/** @type {TouchEvent} */ event) {
    cancelAnimationFrame(this.#gliding);
    this.#drop();
    if (event.touches.length !== 1 || targetOf(event).closest('.scrollbar')) return; // two fingers zoom the page; the scrollbar handles touch itself
    const { identifier: id, clientX: x, clientY: y } = event.touches[0];
    /** @type {Finger} */ const finger = { id, x, y, mode: 'wait', rest: 0, speed: 0, at: event.timeStamp, anchor: { from: 0, to: 0 } };
    finger.hold = setTimeout(() => this.#beginSelection(finger), HOLD_MS);
    this.#finger = finger;
  }

  #move(/** @type {TouchEvent} */ event) {
    const finger = this.#finger;
    const touch = [...event.touches].find(({ identifier }) => identifier === finger?.id);
    if (!finger || !touch || event.touches.length !== 1) return this.#drop();
    const { clientX: x, clientY: y } = touch;
    if (finger.mode === 'wait') {
      if (Math.hypot(x - finger.x, y - finger.y) < SLOP) return undefined;
      clearTimeout(finger.hold);
      finger.mode = 'scroll';
      this.#hideTools();
    }
    event.preventDefault();
    if (finger.mode === 'select') this.#selectTo(finger, x, y);
    else this.#scroll(y - finger.y, x, y, finger);
    const passed = Math.max(1, event.timeStamp - finger.at);
    // Smoothed: single events come at irregular times.
    finger.speed = 0.6 * ((y - finger.y) / passed) + 0.4 * finger.speed;
    Object.assign(finger, { x, y, at: event.timeStamp });
    return undefined;
  }

  #up(/** @type {TouchEvent} */ event) {
    const finger = this.#finger;
    this.#drop();
    if (!finger || finger.mode === 'wait') {
      if (!this.#tools.hidden && !targetOf(event).closest('.touch-tools')) this.#hideTools();
      return; // a tap, which the browser turns into a click
    }
    event.preventDefault(); // no click: the keyboard stays as it is
    if (finger.mode === 'select') this.#showTools(finger.x, finger.y);
    // A finger that rested before it was lifted does not make the text glide.
    else if (event.timeStamp - finger.at < 60 && !STILL.matches) this.#glide(finger);
  }

  #drop() {
    if (!this.#finger) return;
    clearTimeout(this.#finger.hold);
    clearInterval(this.#finger.edge);
    this.#finger = null;
  }

  // --- scrolling ----------------------------------------------------------------------------------------------

  get #screen() {
    return this.#host.querySelector('.xterm-screen') ?? this.#host;
  }

  get #box() {
    return this.#screen.getBoundingClientRect();
  }

  /** Scrolls by so many pixels; what is below one line is kept for the next call. @param {number} pixels @param {number} x @param {number} y @param {{rest: number}} from */
  #scroll(pixels, x, y, from) {
    const height = this.#box.height / this.#term.rows;
    from.rest += pixels;
    const lines = Math.trunc(from.rest / height);
    if (!lines) return;
    from.rest -= lines * height;
    const other = this.#term.buffer.active.type === 'alternate' || this.#term.modes.mouseTrackingMode !== 'none';
    if (!other) this.#term.scrollLines(-lines);
    else this.#turnWheel(-lines, x, y); // the program scrolls: it gets reports or arrow keys, as from a wheel
  }

  #turnWheel(/** @type {number} */ lines, /** @type {number} */ clientX, /** @type {number} */ clientY) {
    const target = this.#screen;
    // One event for each line, as a wheel gives them.
    for (let line = 0; line < Math.abs(lines); line += 1) {
      target.dispatchEvent(new WheelEvent('wheel', { bubbles: true, cancelable: true, deltaMode: WheelEvent.DOM_DELTA_LINE, deltaY: Math.sign(lines), clientX, clientY }));
    }
  }

  #glide(/** @type {Finger} */ { speed, x, y }) {
    const state = { rest: 0 };
    let last = performance.now();
    const step = (/** @type {number} */ now) => {
      const passed = now - last;
      last = now;
      this.#scroll(speed * passed, x, y, state);
      speed *= SLOWING ** (passed / 16.7);
      if (Math.abs(speed) > SLOWEST) this.#gliding = requestAnimationFrame(step);
    };
    this.#gliding = requestAnimationFrame(step);
  }

  // --- selecting ----------------------------------------------------------------------------------------------

  /** The cell at a point: its column, and its row in the whole buffer. */
  #cell(/** @type {number} */ x, /** @type {number} */ y) {
    const box = this.#box;
    const { cols, rows, buffer } = this.#term;
    const column = Math.floor(((x - box.left) / box.width) * cols);
    const row = Math.floor(((y - box.top) / box.height) * rows);
    return { column: Math.min(cols - 1, Math.max(0, column)), row: buffer.active.viewportY + Math.min(rows - 1, Math.max(0, row)) };
  }

  #beginSelection(/** @type {Finger} */ finger) {
    finger.mode = 'select';
    const { column, row } = this.#cell(finger.x, finger.y);
    const line = this.#term.buffer.active.getLine(row);
    const blank = (/** @type {number} */ at) => !line || /^\s*$/.test(line.getCell(at)?.getChars() ?? '') && line.getCell(at)?.getWidth() !== 0;
    // A word, or nothing if the press is on a blank.
    let [from, to] = [column, column + 1];
    if (!blank(column)) {
      while (from > 0 && !blank(from - 1)) from -= 1;
      while (to < this.#term.cols && !blank(to)) to += 1;
    }
    finger.anchor = { from: row * this.#term.cols + from, to: row * this.#term.cols + to };
    if (blank(column)) this.#term.clearSelection();
    else this.#term.select(from, row, to - from);
    // As a sign that the selection has begun, where the device can do that.
    navigator.vibrate?.(10);
  }

  #selectTo(/** @type {Finger} */ finger, /** @type {number} */ x, /** @type {number} */ y) {
    const { cols } = this.#term;
    const { column, row } = this.#cell(x, y);
    const at = row * cols + column;
    const { anchor } = finger;
    // The word of the beginning stays selected in either direction.
    const from = Math.min(anchor.from, at);
    const to = Math.max(anchor.to, at + 1);
    this.#term.select(from % cols, Math.floor(from / cols), to - from);
    clearInterval(finger.edge);
    const box = this.#box;
    // Near the edge the selection goes on while the finger rests.
    const beyond = y < box.top + EDGE ? -1 : y > box.bottom - EDGE ? 1 : 0;
    if (beyond) {
      finger.edge = setInterval(() => {
        this.#term.scrollLines(beyond);
        this.#selectTo(finger, x, y);
      }, EDGE_MS);
    }
  }

  #showTools(/** @type {number} */ x, /** @type {number} */ y) {
    const box = (this.#host.parentElement ?? this.#host).getBoundingClientRect();
    this.#tools.hidden = false;
    this.#copyTool.hidden = !this.#term.hasSelection();
    // Without TLS, and in some browsers, a page cannot read the clipboard.
    this.#pasteTool.hidden = !navigator.clipboard?.readText;
    const { offsetWidth: width, offsetHeight: height } = this.#tools;
    this.#tools.style.left = `${Math.min(box.width - width - 6, Math.max(6, x - box.left - width / 2))}px`;
    // Above the finger if there is room.
    this.#tools.style.top = `${y - box.top > height + 30 ? y - box.top - height - 24 : y - box.top + 24}px`;
  }

  #hideTools() {
    this.#tools.hidden = true;
  }

  async #copy() {
    const text = this.#term.getSelection();
    if (navigator.clipboard) await navigator.clipboard.writeText(text).catch(() => document.execCommand('copy'));
    else document.execCommand('copy');
    this.#term.clearSelection();
    this.#hideTools();
  }

  async #paste(/** @type {(text: string) => void} */ paste) {
    const text = await navigator.clipboard.readText().catch(() => ''); // not permitted
    this.#hideTools();
    if (text) paste(text);
  }
}
