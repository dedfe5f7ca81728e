// What a keyboard inserts into a terminal's text area without a key of its own: phones' keyboards, input methods,
// emoji pickers, dictation. xterm.js learns of it by timers (it compares the text area a moment later), so that what
// comes between two of them is lost, or sent twice. So it is sent from here, by the events themselves; only a composed
// word is left to xterm.js, and watched until it has been sent. Only public interfaces are used.

import { present } from '../core/faults.js';

const NO_KEY = 229; // an input method takes the key: what comes of it is inserted
const MODIFIERS = ['CapsLock', 'Shift', 'Control', 'Alt', 'AltGraph', 'Meta'];
const RUBOUT = '\x7f';

/** What turns one text into another when typed: rubouts, then the new end. */
function typedFor(/** @type {string} */ before, /** @type {string} */ after) {
  let same = 0;
  while (same < before.length && before[same] === after[same]) same += 1;
  return RUBOUT.repeat([...before.slice(same)].length) + after.slice(same);
}

export class Composed {
  #term;
  #area;
  #composing = false;
  #key = false; // a key of its own is down: what it inserts, xterm.js has from the key
  #start = 0; // of what is composed, in the text area
  #before = ''; // the text area before the last change
  /** @type {string | null} */ #had = null; // the text area when a word began, all of it sent
  /** @type {{start: number, text: string} | null} */ #waiting = null; // a word that xterm.js is about to send

  /** @param {import('@xterm/xterm').Terminal} term that is open */
  constructor(term) {
    this.#term = term;
    this.#area = present(term.textarea);
    const host = present(term.element);
    /** @template {keyof HTMLElementEventMap} Type @param {Type} type @param {(event: HTMLElementEventMap[Type]) => unknown} act */
    const first = (type, act) => host.addEventListener(type, act, true); // before xterm.js
    first('keydown', (event) => this.#down(event));
    first('keyup', () => { this.#key = false; });
    first('compositionstart', () => this.#begin());
    host.addEventListener('compositionend', () => this.#end()); // after xterm.js
    first('blur', () => this.#flush()); // xterm.js empties the text area then
    first('beforeinput', () => { this.#before = this.#area.value; });
    first('input', (event) => this.#input(event));
    term.onData((data) => this.#sent(data));
  }

  /** @returns {boolean} whether xterm.js may take this key */
  takes(/** @type {KeyboardEvent} */ event) {
    return event.keyCode !== NO_KEY;
  }

  #down(/** @type {KeyboardEvent} */ event) {
    this.#before = this.#area.value;
    this.#key = event.keyCode !== NO_KEY && !MODIFIERS.includes(event.key); // a modifier's end may come to another window
    if (!this.#key) return;
    this.#had = null; // xterm.js ends the word, and may empty the text area
    this.#flush();
  }

  /** Sends the word that xterm.js has not sent yet: it would send it without what was inserted after it. */
  #flush() {
    if (!this.#waiting) return;
    const word = this.#area.value.slice(this.#waiting.start) || this.#waiting.text;
    this.#waiting = null;
    this.#area.value = '';
    this.#send(word);
  }

  /** Ends a word that is being composed and sends it, before what is not typed by a keyboard. */
  finish() {
    if (this.#composing) this.#area.blur();
    this.#flush();
  }

  #begin() {
    this.#composing = true;
    this.#start = this.#area.value.length;
    // For a menu's Copy, xterm.js puts the terminal's selection there, which was never typed.
    this.#had = this.#term.hasSelection() && this.#term.getSelection() === this.#area.value ? null : this.#area.value;
  }

  #end() {
    this.#composing = false;
    // A word that was sent already may be composed again: xterm.js sends only what is behind it.
    const had = this.#had;
    if (had !== null && !this.#waiting && this.#area.matches(':focus')) this.#send(typedFor(had, this.#area.value.slice(0, this.#start)));
    const before = this.#waiting; // a word that ended in the same moment goes with this one
    const word = { start: before?.start ?? this.#start, text: before?.text ?? '' };
    this.#waiting = word;
    setTimeout(() => { // after the timer of xterm.js
      if (this.#waiting !== word) return;
      this.#waiting = null;
      this.#send(word.text); // it has sent nothing, so this came when it had looked
    });
  }

  /** xterm.js sends all that the text area has after the start of the word, or up to the next word's. */
  #sent(/** @type {string} */ data) {
    if (this.#waiting && data && this.#area.value.startsWith(data, this.#waiting.start)) this.#waiting = null;
  }

  #input(/** @type {Event} */ event) {
    if (!(event instanceof InputEvent)) return;
    if (this.#composing || this.#key || event.isComposing) return;
    const inserted = /^insert(LineBreak|Paragraph)$/.test(event.inputType) ? '\r' : event.inputType === 'insertText' ? event.data : null;
    if (!inserted && !/^(insertReplacementText|delete)/.test(event.inputType)) return;
    event.stopPropagation();
    const known = this.#waiting?.start ?? Infinity; // what is behind it the program does not have yet
    const text = inserted ?? typedFor(this.#before.slice(0, known), this.#area.value.slice(0, known));
    if (this.#waiting) this.#waiting.text += text; // it goes with the word
    else this.#send(text);
  }

  #send(/** @type {string} */ text) {
    if (text) this.#term.input(text, true);
  }
}
