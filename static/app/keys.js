// A bar of keys that a phone's keyboard lacks or hides, for the terminal or the editor.
import { texts } from '../core/texts.js';
import { $, el } from './dom.js';

/** @type {[string, string, string?][]} label, bytes, and bytes in the application cursor mode */
const KEYS = [
  ['esc', '\u001b'], ['tab', '\t'], ['ctrl', ''], ['↑', '\u001b[A', '\u001bOA'], ['↓', '\u001b[B', '\u001bOB'], ['←', '\u001b[D', '\u001bOD'],
  ['→', '\u001b[C', '\u001bOC'], ['^C', '\u0003'], ['^D', '\u0004'], ['|', '|'], ['/', '/'], ['-', '-'], ['~', '~'], ['home', '\u001b[H', '\u001bOH'], ['end', '\u001b[F', '\u001bOF'],
];
/** The label of a key that is no character, and its name for screen readers. */
const label = (/** @type {string} */ key) => /** @type {Record<string, string>} */ ({ esc: texts.keys.esc, tab: texts.keys.tab, Tab: texts.keys.tab, ctrl: texts.keys.ctrl, home: texts.keys.home, end: texts.keys.end, Undo: texts.keys.undo, Redo: texts.keys.redo })[key] ?? key;
const arrows = () => ({ '↑': texts.keys.up, '↓': texts.keys.down, '←': texts.keys.left, '→': texts.keys.right });
/** @returns {Record<string, string>} */
const names = () => ({ ...arrows(), '^C': texts.keys.interrupt, '^D': texts.keys.endOfInput });
/** @returns {Record<string, string>} */
const codeNames = () => ({ ...arrows(), Tab: texts.keys.indent, '⇤': texts.keys.outdent });

const CODE_KEYS = ['Tab', '⇤', '(', ')', '[', ']', '{', '}', '"', "'", ':', ';', '=', '←', '→', '↑', '↓', '<', '>', '_', '#', '&', '|', '\\', '/', '+', '-', '*', '!', '%', 'Undo', 'Redo'];

function setUpCodeKeys(/** @type {import('./editor.js').Editor} */ editor) {
  for (const key of CODE_KEYS) {
    const button = el('button', { type: 'button', textContent: label(key), attrs: { 'aria-label': codeNames()[key] ?? label(key) } });
    button.addEventListener('pointerdown', (event) => event.preventDefault()); // the keyboard stays open
    button.addEventListener('click', () => editor.press(key));
    $('code-keys').append(button);
  }
}

/** @param {() => import('./screen.js').Screen | null} screen that is shown @param {import('./editor.js').Editor} editor */
export function setUpKeys(screen, editor) {
  setUpCodeKeys(editor);
  let armed = false;
  const control = el('button', { type: 'button', textContent: texts.keys.ctrl, attrs: { 'aria-pressed': 'false' } });
  const arm = (/** @type {boolean} */ on) => {
    armed = on;
    control.setAttribute('aria-pressed', String(on));
  };
  for (const [key, normal, application] of KEYS) {
    const button = key === 'ctrl' ? control : el('button', { type: 'button', textContent: label(key), attrs: { 'aria-label': names()[key] ?? label(key) } });
    button.addEventListener('pointerdown', (event) => event.preventDefault()); // the keyboard stays open
    button.addEventListener('click', () => {
      const view = screen()?.view;
      if (!view) return;
      if (key === 'ctrl') arm(!armed);
      else view.press(normal, application);
      view.focus();
    });
    $('keys').append(button);
  }

  /** With Ctrl armed, the next character becomes a control character. */
  return (/** @type {Uint8Array} */ bytes) => {
    // Only a single byte: a paste or an arrow key is no character.
    if (!armed || bytes.length !== 1) return bytes;
    arm(false);
    const code = bytes[0];
    // Ctrl-Space is NUL.
    if (code === 0x20) return Uint8Array.of(0);
    return code >= 0x40 && code < 0x7f ? Uint8Array.of(code & 0x1f) : bytes;
  };
}
