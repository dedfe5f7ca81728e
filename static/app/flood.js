// During a flood of output the terminal is drawn about ten times a second instead of sixty: drawing is most of what a
// flood costs the page, and nobody can read it. This uses synchronized output (mode 2026), which exists for programs;
// if a program uses it, this code leaves it alone. The scrollbar and the text area, which would still move with each
// line, are held by `.flooded` in parts.css.

const EVERY_MS = 100;
const LATE_MS = 200; // the last of a flood is drawn so much later at most
const FLOOD = 96 * 1024; // bytes within EVERY_MS
const MODE = 2026;
// The mode is named twice, to distinguish it from that of programs.
const HOLD = `\u001b[?${MODE};${MODE}h`;
const DRAW = `\u001b[?${MODE};${MODE}l`;

export class Flood {
  #term;
  #atRest;
  #began = 0; // start of the interval in which bytes are counted
  #bytes = 0;
  #held = false;
  #drawn = true; // a frame since the last hold
  #foreign = false; // the program uses the mode
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /**
   * @param {import('@xterm/xterm').Terminal} term
   * @param {() => boolean} atRest whether the output so far ends outside of an escape sequence, so that one may follow
   */
  constructor(term, atRest) {
    this.#term = term;
    this.#atRest = atRest;
    term.onRender(() => { this.#drawn = true; });
    for (const id of [{ prefix: '?', final: 'h' }, { prefix: '?', final: 'l' }, { prefix: '?', intermediates: '$', final: 'p' }]) {
      term.parser.registerCsiHandler(id, (params) => this.#seen(params));
    }
  }

  /** @param {(number | number[])[]} params @returns {false} so that the terminal executes it */
  #seen(params) {
    if (params.includes(MODE) && params.length !== 2) this.#foreign = true;
    return false;
  }

  /** Another program is shown, which may not use the mode. */
  reset() {
    this.#foreign = false;
  }

  /** @param {number} bytes so many were written */
  wrote(bytes) {
    const now = performance.now();
    if (now - this.#began > EVERY_MS) {
      this.#began = now;
      this.#bytes = 0;
      this.#draw();
    }
    this.#bytes += bytes;
    // `#drawn`: at least one frame between two holds, or nothing would be seen.
    if (this.#held || this.#foreign || !this.#drawn || this.#bytes < FLOOD || !this.#atRest()) return;
    this.#held = true;
    this.#term.write(HOLD);
    // Only at the end of the output: a user who has scrolled up moves the scrollbar.
    const { viewportY, baseY } = this.#term.buffer.active;
    this.#term.element?.classList.toggle('flooded', viewportY === baseY);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#over(), LATE_MS);
  }

  #over() {
    this.#draw();
    this.#term.element?.classList.remove('flooded');
  }

  /** Has a frame drawn. Inside of a sequence nothing can be inserted; the terminal itself draws after a second. */
  #draw() {
    if (!this.#held || !this.#atRest()) return;
    this.#held = false;
    this.#drawn = false;
    this.#term.write(DRAW);
  }
}
