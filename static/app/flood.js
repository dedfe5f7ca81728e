// Under a flood of output the terminal is drawn about ten times a second and not sixty: to draw is most of what a flood
// costs the page, and nobody can read it. It is done by synchronized output (mode 2026), which programs have for the
// same end; where a program uses it, it has it for itself. What moves with each line all the same (the scrollbar, the
// field that is typed into) stands still meanwhile: `.flooded` in parts.css.

const EVERY_MS = 100;
const LATE_MS = 200; // the last of a flood is drawn so much later at most
const FLOOD = 96 * 1024; // bytes within EVERY_MS
const MODE = 2026;
// The mode is named twice, to tell it from what programs write.
const HOLD = `\u001b[?${MODE};${MODE}h`;
const DRAW = `\u001b[?${MODE};${MODE}l`;

export class Flood {
  #term;
  #atRest;
  #began = 0; // of the time in which bytes are counted
  #bytes = 0;
  #held = false;
  #drawn = true; // since it was let go of
  #foreign = false; // the program uses the mode
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /**
   * @param {import('@xterm/xterm').Terminal} term
   * @param {() => boolean} atRest whether what was written ends outside of any sequence, so that one may be put behind it
   */
  constructor(term, atRest) {
    this.#term = term;
    this.#atRest = atRest;
    term.onRender(() => { this.#drawn = true; });
    for (const id of [{ prefix: '?', final: 'h' }, { prefix: '?', final: 'l' }, { prefix: '?', intermediates: '$', final: 'p' }]) {
      term.parser.registerCsiHandler(id, (params) => this.#seen(params));
    }
  }

  /** @param {(number | number[])[]} params @returns {false} the terminal is to do what it says */
  #seen(params) {
    if (params.includes(MODE) && params.length !== 2) this.#foreign = true;
    return false;
  }

  /** Another program is shown. */
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
    if (this.#held || this.#foreign || !this.#drawn || this.#bytes < FLOOD || !this.#atRest()) return;
    this.#held = true;
    this.#term.write(HOLD);
    const { viewportY, baseY } = this.#term.buffer.active;
    this.#term.element?.classList.toggle('flooded', viewportY === baseY);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#over(), LATE_MS);
  }

  #over() {
    this.#draw();
    this.#term.element?.classList.remove('flooded');
  }

  /** A frame is drawn. In the middle of a sequence nothing can be said: the terminal itself draws after a second. */
  #draw() {
    if (!this.#held || !this.#atRest()) return;
    this.#held = false;
    this.#drawn = false;
    this.#term.write(DRAW);
  }
}
