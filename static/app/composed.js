// Text that is inserted into a terminal's text area without a key of its own: by phones' keyboards, input methods,
// emoji pickers, dictation. xterm.js finds out by timers (it compares the text area a moment later), and loses or
// repeats text that comes between two of them. So the text is sent from here, by the events themselves, which are
// hidden from xterm.js: any difference between the text area and what was sent is sent at once. Only public interfaces
// are used.

import { present } from '../core/faults.js';
import { el } from './dom.js';

const NO_KEY = 229; // an input method takes the key: what comes of it is inserted
const MODIFIERS = ['CapsLock', 'Shift', 'Control', 'Alt', 'AltGraph', 'Meta'];
const RUBOUT = '\x7f';
const LINE_BREAK = /^insert(LineBreak|Paragraph)$/;
const CHANGE = /^(insertReplacementText|insertCompositionText|insertFromComposition|delete)/;

/** The keys that turn one text into another: rubouts for the difference, then the new end. */
function typedFor(/** @type {string} */ before, /** @type {string} */ after) {
  // The common beginning stays; terminals cannot edit in the middle.
  let same = 0;
  while (same < before.length && before[same] === after[same]) same += 1;
  if (/[\ud800-\udbff]$/.test(before.slice(0, same))) same -= 1; // not in the middle of a surrogate pair
  // By code points, as a rubout removes a whole character.
  return RUBOUT.repeat([...before.slice(same)].length) + after.slice(same);
}

export class Composed {
  #term;
  #area;
  #view = el('div', { className: 'composing', hidden: true, attrs: { 'aria-hidden': true } }); // the composed text, until it is sent
  #composing = false;
  #key = false; // a key is down: xterm.js handles what it inserts
  #known = ''; // the part of the text area that was sent
  #foreign = false; // the text area has text that was not typed: xterm.js puts the selection there for a menu's Copy

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
    // Hidden from xterm.js, whose own handling would send the text a second time.
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
   * Ends a composition and sends it, before input that is not typed on a keyboard.
   * @returns {boolean} whether there was one; then the text area has lost the focus
   */
  finish() {
    const composing = this.#composing;
    // The blur makes the input method commit, which fires `compositionend`.
    if (composing) this.#area.blur();
    else if (!this.#term.options.screenReaderMode) this.#area.value = ''; // as with a key: no later composition replaces earlier text
    return composing;
  }

  #down(/** @type {KeyboardEvent} */ event) {
    this.#key = event.keyCode !== NO_KEY && !MODIFIERS.includes(event.key); // the keyup of a modifier may go to another window
    if (!this.#key) return;
    if (this.#composing) {
      this.#catchUp(); // the key comes after the composed text
      this.#foreign = true; // xterm.js may empty the text area
    } else if (!this.#term.options.screenReaderMode) {
      this.#area.value = ''; // text typed by keys is not in it, so no later composition can replace text before it
    }
  }

  /** Before a change: everything in the text area was sent, or was put there by others. */
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
    this.#foreign = false; // Firefox repeats the text in an input event after the end
  }

  /** Sends the difference between the text that was sent and the one in the text area. */
  #catchUp() {
    const [before, after] = [this.#known, this.#area.value];
    this.#known = after;
    // Text that was not typed cannot be rubbed out: only what was added is sent.
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
    // Return on a phone's keyboard is a line break and no key.
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

  /** Draws the composed text at the cursor, and makes the text area as wide: input methods place their list there. */
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
