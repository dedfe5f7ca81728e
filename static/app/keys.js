// Keys that a phone's keyboard lacks or hides: a bar above it, for the terminal or the code that is typed into.
import { $, el } from './dom.js';

const KEYS = [
  ['Esc', '\u001b'], ['Tab', '\t'], ['Ctrl', null], ['↑', '\u001b[A', '\u001bOA'], ['↓', '\u001b[B', '\u001bOB'], ['←', '\u001b[D', '\u001bOD'],
  ['→', '\u001b[C', '\u001bOC'], ['^C', '\u0003'], ['^D', '\u0004'], ['|', '|'], ['/', '/'], ['-', '-'], ['~', '~'], ['Home', '\u001b[H', '\u001bOH'], ['End', '\u001b[F', '\u001bOF'],
];
const NAMES = { '↑': 'Up', '↓': 'Down', '←': 'Left', '→': 'Right', '^C': 'Interrupt, Ctrl C', '^D': 'End of input, Ctrl D' };

const CODE_KEYS = ['Tab', '⇤', '(', ')', '[', ']', '{', '}', '"', "'", ':', ';', '=', '←', '→', '↑', '↓', '<', '>', '_', '#', '&', '|', '\\', '/', '+', '-', '*', '!', '%', 'Undo', 'Redo'];
const CODE_NAMES = { Tab: 'Indent', '⇤': 'Indent less', '←': 'Left', '→': 'Right', '↑': 'Up', '↓': 'Down' };

function setUpCodeKeys(editor) {
  for (const label of CODE_KEYS) {
    const button = el('button', { type: 'button', textContent: label, attrs: { 'aria-label': CODE_NAMES[label] ?? label } });
    button.addEventListener('pointerdown', (event) => event.preventDefault()); // the keyboard stays open
    button.addEventListener('click', () => editor.press(label));
    $('code-keys').append(button);
  }
}

/** @param screen returns the Screen that is shown, or null @param editor the Editor */
export function setUpKeys(screen, editor) {
  setUpCodeKeys(editor);
  let armed = false;
  const control = el('button', { type: 'button', textContent: 'Ctrl', attrs: { 'aria-pressed': 'false' } });
  const arm = (on) => {
    armed = on;
    control.setAttribute('aria-pressed', String(on));
  };
  for (const [label, normal, application] of KEYS) {
    const button = label === 'Ctrl' ? control : el('button', { type: 'button', textContent: label, attrs: { 'aria-label': NAMES[label] ?? label } });
    button.addEventListener('pointerdown', (event) => event.preventDefault()); // the keyboard stays open
    button.addEventListener('click', () => {
      const view = screen()?.view;
      if (!view) return;
      if (label === 'Ctrl') arm(!armed);
      else view.press(normal, application);
      view.focus();
    });
    $('keys').append(button);
  }

  /** With Ctrl armed, the next character becomes a control character. */
  return (bytes) => {
    if (!armed || bytes.length !== 1) return bytes;
    arm(false);
    const code = bytes[0];
    if (code === 0x20) return Uint8Array.of(0);
    return code >= 0x40 && code < 0x7f ? Uint8Array.of(code & 0x1f) : bytes;
  };
}
