// Makes a program's output safe for the terminal library: a few bytes must not cost seconds of the page's time.
//
// The library repeats a control sequence as often as its number says: `ESC [ 999999999 S` scrolls for minutes, and no
// key is handled meanwhile. Here numbers are lowered to the size of the screen, a string without end is cancelled, a
// link ends after a while, and expensive output is passed on in pieces, between which the page can do other work.
// Nothing else is changed, and output that needs no change is not copied.
import { joinBytes } from './bytes.js';

const [BEL, CAN, SUB, ESC, DEL, C1] = [0x07, 0x18, 0x1a, 0x1b, 0x7f, 0xc2];
const EMPTY = new Uint8Array();
const CLOSE_LINK = Uint8Array.of(ESC, 0x5d, 0x38, 0x3b, 0x3b, BEL);

export const MAX_SEQUENCE = 1024; // bytes of a control sequence; 32 parameters are used at most
export const MAX_STRING = 4096; // bytes of an OSC or DCS string, except for pictures
const PICTURE = '1337'; // its own bound is in picture.js
const MAX_NUMBER = 65_535;
const MAX_LINKED = 4096; // bytes of text in one link
const [RUN, LINKED_RUN] = [32_768, 64]; // bytes of text that are handled together

// Costs in microseconds, roughly: measured with xterm.js on a slow machine with a screen of 120 by 50.
const PIECE = 4000;
// `mark`: of a byte that may belong to a character that is combined with the one before.
const COST = { byte: 0.05, mark: 1.5, linked: 20, sequence: 0.5, line: 2.5, cell: 0.01, column: 0.2 };

const MAX_MARKS = PIECE / COST.mark; // in one run

/** By final byte, for sequences without a prefix: the bound of the numbers, and the cost of each unit. */
const REPEATED = new Map(Object.entries(/** @type {Record<string, ['rows' | 'cols', number]>} */ ({
  'S': ['rows', COST.line], 'T': ['rows', COST.line], 'L': ['rows', COST.line], 'M': ['rows', COST.line],
  '@': ['cols', COST.column], 'P': ['cols', COST.column], 'X': ['cols', COST.column], 'Z': ['cols', COST.column],
  'I': ['cols', COST.column], 'b': ['cols', 4], ' @': ['cols', COST.column], ' A': ['cols', COST.column],
  '\'}': ['cols', COST.column], '\'~': ['cols', COST.column],
})));
const SCREENS = new Set([3, 47, 1047, 1049]); // modes that redraw the whole screen

const isC1 = (/** @type {number} */ byte) => byte >= 0x80 && byte <= 0x9f;
const isDigit = (/** @type {number} */ byte) => byte >= 0x30 && byte <= 0x39;
const isFinal = (/** @type {number} */ byte) => byte >= 0x40 && byte < DEL;
const isMiddle = (/** @type {number} */ byte) => byte >= 0x20 && byte <= 0x2f;

/** Collects the output for the terminal: parts of `data` unchanged or replaced, cut into pieces by cost. */
class Pieces {
  #data;
  #from = 0;
  /** @type {Uint8Array[]} */ #parts = [];
  #cost = 0;
  /** @type {Uint8Array[]} */ #done = [];

  constructor(/** @type {Uint8Array} */ data) {
    this.#data = data;
  }

  replace(/** @type {number} */ from, /** @type {number} */ to, bytes = EMPTY) {
    if (from > this.#from) this.#parts.push(this.#data.subarray(this.#from, from));
    if (bytes.length) this.#parts.push(bytes);
    this.#from = to;
  }

  /** The output before `at` costs so much more. */
  spend(/** @type {number} */ cost, /** @type {number} */ at) {
    this.#cost += cost;
    if (this.#cost > PIECE) this.#cut(at);
  }

  #cut(/** @type {number} */ at) {
    this.replace(at, Math.max(at, this.#from));
    if (this.#parts.length) this.#done.push(this.#parts.length === 1 ? this.#parts[0] : joinBytes(this.#parts));
    this.#parts = [];
    this.#cost = 0;
  }

  until(/** @type {number} */ end) {
    this.#cut(end);
    return this.#done;
  }
}

export class OutputLimiter {
  #size;
  #held = EMPTY; // the beginning of a sequence whose end has not come yet
  #state = 'text'; // text, string, or ignore (a control sequence that is too long)
  /** @type {any} */ #osc = null; // of a string: its number so far; null if it is no OSC
  #numbered = false;
  #length = 0;
  #given = false; // the string is too long: the rest of it is dropped
  /** @type {any} */ #linked = null; // bytes since a link began; null: there is none

  /** @param size returns {cols, rows} of the terminal */
  constructor(/** @type {() => {cols: number, rows: number}} */ size) {
    this.#size = size;
  }

  /** Whether the output so far ends outside of any sequence. */
  get atRest() {
    return this.#state === 'text' && this.#held.length === 0;
  }

  /** @param bytes the next ones of the program's output @returns {Uint8Array[]} the output for the terminal, in pieces */
  // The beginning of an incomplete sequence is put before the new bytes.
  take(/** @type {Uint8Array} */ bytes) {
    const data = this.#held.length ? joinBytes([this.#held, bytes]) : bytes;
    this.#held = EMPTY;
    const out = new Pieces(data);
    let at = 0;
    while (at < data.length) {
      const next = this.#state === 'text' ? this.#text(data, at, out) : this.#state === 'string' ? this.#string(data, at, out) : this.#ignored(data, at, out);
      if (next < 0) {
        this.#held = data.slice(-next - 1);
        break;
      }
      at = next;
    }
    return out.until(data.length - this.#held.length);
  }

  // Each of the following methods returns where to continue, or -1 - at if the sequence at `at` is incomplete.

  #text(/** @type {Uint8Array} */ data, /** @type {number} */ at, /** @type {Pieces} */ out) {
    const linked = this.#linked !== null;
    const most = Math.min(data.length, at + (linked ? LINKED_RUN : RUN));
    let end = at;
    let marks = 0;
    for (let byte = data[end]; end < most && byte !== ESC && byte !== C1; byte = data[end]) {
      // Bytes above 127 may be marks, which are expensive; the sign bit counts them without a branch.
      marks += byte >> 7;
      end += 1;
      if (marks > MAX_MARKS) break;
    }
    const cost = linked ? COST.linked * (end - at) : COST.byte * (end - at - marks) + COST.mark * marks;
    while (end < data.length && end > at + 1 && (data[end] & 0xc0) === 0x80) end -= 1; // not inside of a character
    if (end > at) {
      out.spend(cost, end);
      if (this.#linked !== null) this.#link(end - at, data, end, out);
      return end;
    }
    // C1 controls are two bytes in UTF-8: 0xC2 and 0x80 to 0x9F.
    if (data[at] === C1) {
      if (at + 1 === data.length) return -1 - at;
      return isC1(data[at + 1]) ? this.#introduced(data, at, at + 2, data[at + 1] - 0x40, out) : at + 2;
    }
    return this.#escape(data, at, out);
  }

  /** A link that never ends costs more with each of its lines: it is closed here. */
  #link(/** @type {number} */ bytes, /** @type {Uint8Array} */ data, /** @type {number} */ at, /** @type {Pieces} */ out) {
    this.#linked += bytes;
    if (this.#linked <= MAX_LINKED || at === data.length || (data[at] & 0xc0) === 0x80) return;
    this.#linked = null;
    out.replace(at, at, CLOSE_LINK);
  }

  /** Bytes that the terminal skips between ESC and the final byte (controls, invalid UTF-8) are skipped here as well. */
  #escape(/** @type {Uint8Array} */ data, /** @type {number} */ at, /** @type {Pieces} */ out) {
    let middle = 0;
    for (let next = at + 1; next < data.length; next += 1) {
      const byte = data[next];
      // Longer than any genuine one: dropped.
      if (next - at > MAX_SEQUENCE) {
        out.replace(at, next);
        return next;
      }
      if (byte === ESC || byte === CAN || byte === SUB) return next;
      if (byte === C1) {
        if (next + 1 === data.length) return -1 - at;
        if (isC1(data[next + 1])) return next;
      }
      if (isMiddle(byte)) middle = byte;
      if (byte < 0x30 || byte >= DEL) continue;
      if (middle === 0) return this.#introduced(data, at, next + 1, byte, out);
      out.spend(middle === 0x23 ? this.#screen : COST.sequence, next + 1); // ESC # 8 fills the screen
      return next + 1;
    }
    return -1 - at;
  }

  get #screen() {
    const { cols, rows } = this.#size();
    return COST.cell * cols * rows;
  }

  /** @param from after the introducer @param introducer as the byte after an ESC */
  #introduced(/** @type {Uint8Array} */ data, /** @type {number} */ at, /** @type {number} */ from, /** @type {number} */ introducer, /** @type {Pieces} */ out) {
    switch (introducer) {
      case 0x5b: return this.#control(data, at, from, out); // CSI
      case 0x5d: return this.#begin(from, ''); // OSC
      case 0x50: case 0x58: case 0x5e: case 0x5f: return this.#begin(from, null); // DCS, SOS, PM, APC
      default:
        out.spend(introducer === 0x63 ? this.#screen : COST.line, from); // a full reset, or at most a line
        return from;
    }
  }

  #begin(/** @type {number} */ from, /** @type {string | null} */ osc) {
    this.#state = 'string';
    this.#osc = osc;
    this.#numbered = false;
    this.#length = 0;
    this.#given = false;
    return from;
  }

  /** A string: after MAX_STRING bytes it is cancelled. */
  #string(/** @type {Uint8Array} */ data, /** @type {number} */ from, /** @type {Pieces} */ out) {
    let at = from;
    for (; at < data.length; at += 1) {
      const byte = data[at];
      // What ends a string for the terminal: BEL only for OSC.
      if (byte === ESC || byte === CAN || byte === SUB || (byte === BEL && this.#osc !== null)) break;
      if (byte === C1 && (at + 1 === data.length || isC1(data[at + 1]))) break;
      if (!this.#numbered && this.#osc !== null) {
        if (byte === 0x3b || this.#osc.length > 8) this.#numbered = true;
        else if (byte > 0x20 && byte < DEL) this.#osc += String.fromCharCode(byte);
      }
      this.#length += 1;
      if (this.#length > MAX_STRING && !this.#given && this.#osc !== PICTURE) {
        this.#given = true;
        // CAN cancels the string in the terminal, too; what follows is not passed on.
        out.replace(at, at + 1, Uint8Array.of(CAN));
        from = at + 1;
      }
    }
    if (this.#given) out.replace(from, at);
    if (at === data.length) return at;
    if (data[at] === C1 && at + 1 === data.length) return -1 - at;
    this.#ended(at, out);
    if (data[at] === ESC || data[at] === C1) return at; // begins the next sequence, or is the string's terminator, which has no effect there
    return at + 1;
  }

  #ended(/** @type {number} */ at, /** @type {Pieces} */ out) {
    this.#state = 'text';
    if (this.#osc !== null && Number(this.#osc) === 8 && !this.#given) this.#linked = 0; // also for the sequence that closes one, which costs little
    out.spend(COST.sequence + this.#length * COST.byte * 4, at);
  }

  /** A complete control sequence; numbers that are too high are lowered. */
  #control(/** @type {Uint8Array} */ data, /** @type {number} */ at, /** @type {number} */ from, /** @type {Pieces} */ out) {
    for (let end = from; end < data.length; end += 1) {
      const byte = data[end];
      if (isFinal(byte)) {
        this.#lower(data, from, end, out);
        return end + 1;
      }
      if (byte === ESC || byte === CAN || byte === SUB) return end + (byte === ESC ? 0 : 1);
      if (byte === C1) {
        if (end + 1 === data.length) return -1 - at;
        if (isC1(data[end + 1])) return end;
      }
      if (end - from > MAX_SEQUENCE) {
        this.#state = 'ignore';
        out.replace(at, end + 1);
        return end + 1;
      }
    }
    return -1 - at;
  }

  #ignored(/** @type {Uint8Array} */ data, /** @type {number} */ from, /** @type {Pieces} */ out) {
    let at = from;
    while (at < data.length && !isFinal(data[at]) && data[at] !== ESC && data[at] !== CAN && data[at] !== SUB) at += 1;
    if (at === data.length) {
      out.replace(from, at);
      return at;
    }
    this.#state = 'text';
    const end = data[at] === ESC ? at : at + 1;
    out.replace(from, end);
    return end;
  }

  #lower(/** @type {Uint8Array} */ data, /** @type {number} */ from, /** @type {number} */ end, /** @type {Pieces} */ out) {
    // < = > ?
    const prefixed = data[from] >= 0x3c && data[from] <= 0x3f;
    let middle = '';
    for (let at = from; at < end; at += 1) if (isMiddle(data[at])) middle += String.fromCharCode(data[at]);
    const name = middle + String.fromCharCode(data[end]);
    const [bound, each] = (!prefixed && REPEATED.get(name)) || [null, 0];
    const most = bound === null ? MAX_NUMBER : Math.max(1, this.#size()[bound]);
    let first = null; // only the first number matters
    let screens = name === 'J' ? 0.25 : 0;
    let number = 0;
    let began = -1;
    for (let at = from; at <= end; at += 1) {
      // Past the final byte as well, so that the last number is handled.
      const byte = data[at];
      if (isDigit(byte)) {
        if (began < 0) began = at;
        number = Math.min(number * 10 + byte - 0x30, Number.MAX_SAFE_INTEGER / 16);
      } else if (began >= 0 && (byte === 0x3b || byte === 0x3a || at === end || isMiddle(byte))) {
        first ??= Math.min(number, most);
        if (prefixed && (name === 'h' || name === 'l') && SCREENS.has(number)) screens += 1;
        if (number > most) this.#rewrite(data, began, at, most, out);
        began = -1;
        number = 0;
      }
    }
    out.spend(COST.sequence + (first || 1) * each + (screens ? screens * this.#screen : 0), end + 1);
  }

  /** Replaces a number; other bytes among its digits stay (controls are executed within a sequence). */
  #rewrite(/** @type {Uint8Array} */ data, /** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ number, /** @type {Pieces} */ out) {
    const others = data.subarray(from, to).filter((byte) => !isDigit(byte));
    const digits = Uint8Array.from(String(number), (character) => character.charCodeAt(0));
    out.replace(from, to, others.length ? joinBytes([others, digits]) : digits);
  }
}
