// What a keyboard inserts into a terminal's text area without a key of its own: phones' keyboards, input methods,
// emoji pickers, dictation. xterm.js learns of it by timers (it compares the text area a moment later), so that what
// comes between two of them is lost, or sent twice. So it is sent from here, by the events themselves, which xterm.js
// does not get: what the text area has more or less than the program knows is sent at once. Only public interfaces
// are used.

import { present } from '../core/faults.js';
import { el } from './dom.js';

const NO_KEY = 229; // an input method takes the key: what comes of it is inserted
const MODIFIERS = ['CapsLock', 'Shift', 'Control', 'Alt', 'AltGraph', 'Meta'];
const RUBOUT = '\x7f';
const LINE_BREAK = /^insert(LineBreak|Paragraph)$/;
const CHANGE = /^(insertReplacementText|insertCompositionText|insertFromComposition|delete)/;

/** What turns one text into another when typed: rubouts, then the new end. */
function typedFor(/** @type {string} */ before, /** @type {string} */ after) {
  let same = 0;
  while (same < before.length && before[same] === after[same]) same += 1;
  if (/[\ud800-\udbff]$/.test(before.slice(0, same))) same -= 1; // half a character is none
  return RUBOUT.repeat([...before.slice(same)].length) + after.slice(same);
}

export class Composed {
  #term;
  #area;
  #view = el('div', { className: 'composing', hidden: true, attrs: { 'aria-hidden': true } }); // the word, until it is sent
  #composing = false;
  #key = false; // a key of its own is down: what it inserts, xterm.js has from the key
  #known = ''; // of the text area, what the program has
  #foreign = false; // the text area has what was not typed: for a menu's Copy, xterm.js puts the selection there

  /** @param {import('@xterm/xterm').Terminal} term that is open */
  constructor(term) {
    this.#term = term;
    this.#area = present(term.textarea);
    const host = present(term.element);
    this.#screen.append(this.#view);
    /** @template {keyof HTMLElementEventMap} Type @param {Type} type @param {(event: HTMLElementEventMap[Type]) => unknown} act */
    const first = (type, act) => host.addEventListener(type, act, true); // before xterm.js
    first('keydown', (event) => this.#down(event));
    first('keyup', () => { this.#key = false; });
    /** @param {'compositionstart' | 'compositionupdate' | 'compositionend'} type @param {(event: CompositionEvent) => unknown} act */
    const alone = (type, act) => first(type, (event) => { event.stopPropagation(); act(event); });
    alone('compositionstart', () => this.#begin());
    alone('compositionupdate', (event) => this.#draw(event.data));
    alone('compositionend', () => this.#end());
    first('blur', () => this.#end()); // xterm.js empties the text area then
    first('beforeinput', () => this.#composing || this.#look());
    first('input', (event) => this.#input(event));
  }

  get #screen() {
    return /** @type {HTMLElement} */ (present(this.#term.element).querySelector('.xterm-screen') ?? this.#term.element);
  }

  /** @returns {boolean} whether xterm.js may take this key */
  takes(/** @type {KeyboardEvent} */ event) {
    return event.keyCode !== NO_KEY;
  }

  /**
   * Ends a word that is being composed and sends it, before what is not typed by a keyboard.
   * @returns {boolean} whether there was one; then the text area has lost the focus
   */
  finish() {
    const composing = this.#composing;
    if (composing) this.#area.blur();
    else if (!this.#term.options.screenReaderMode) this.#area.value = ''; // as with a key: no later word replaces what was before
    return composing;
  }

  #down(/** @type {KeyboardEvent} */ event) {
    this.#key = event.keyCode !== NO_KEY && !MODIFIERS.includes(event.key); // a modifier's end may come to another window
    if (!this.#key) return;
    if (this.#composing) {
      this.#catchUp(); // the key comes behind the word
      this.#foreign = true; // xterm.js may empty the text area
    } else if (!this.#term.options.screenReaderMode) {
      this.#area.value = ''; // what is typed by keys is not in it: no later word can replace what was before them
    }
  }

  /** Before a change: all in the text area was sent, or put there by others. */
  #look() {
    this.#foreign = this.#area.value !== '' && this.#area.value !== this.#known;
    this.#known = this.#area.value;
  }

  #begin() {
    this.#look();
    this.#composing = true;
    this.#key = false;
  }

  #end() {
    if (!this.#composing) return;
    this.#composing = false;
    this.#draw('');
    this.#catchUp();
    this.#foreign = false; // Firefox tells the word once more, by an input event behind the end
  }

  /** Sends what turns the text that the program has into the one of the text area. */
  #catchUp() {
    const [before, after] = [this.#known, this.#area.value];
    this.#known = after;
    if (!this.#foreign) this.#send(typedFor(before, after));
    else this.#send(after.startsWith(before) ? after.slice(before.length) : after);
  }

  #input(/** @type {Event} */ event) {
    if (!(event instanceof InputEvent)) return;
    if (this.#composing) {
      event.stopPropagation();
      return;
    }
    const { inputType, data } = event;
    const inserted = LINE_BREAK.test(inputType) ? '\r' : inputType === 'insertText' ? data : null;
    const before = this.#known;
    if (this.#key || (!inserted && !CHANGE.test(inputType))) {
      this.#known = this.#area.value; // xterm.js has it from the key, or as a paste
      return;
    }
    event.stopPropagation();
    this.#known = this.#area.value;
    if (inserted) this.#send(inserted);
    else this.#send(this.#foreign ? RUBOUT : typedFor(before, this.#area.value));
  }

  #send(/** @type {string} */ text) {
    if (text) this.#term.input(text, true);
  }

  /** Draws the word at the cursor, and the text area as wide: an input method puts its list there. */
  #draw(/** @type {string} */ word) {
    this.#view.textContent = word;
    this.#view.hidden = !word;
    if (!word) return;
    const { cols, rows, buffer: { active }, options } = this.#term;
    const box = this.#screen.getBoundingClientRect();
    const height = box.height / rows;
    Object.assign(this.#view.style, {
      left: `${(Math.min(active.cursorX, cols - 1) * box.width) / cols}px`, top: `${(active.baseY + active.cursorY - active.viewportY) * height}px`,
      height: `${height}px`, lineHeight: `${height}px`, fontFamily: options.fontFamily, fontSize: `${options.fontSize}px`,
    });
    this.#area.style.width = `${Math.max(1, this.#view.offsetWidth)}px`;
  }
}
