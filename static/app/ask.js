// One question at a time: for a text, or for a confirmation.
import { texts } from '../core/texts.js';
import { $ } from './dom.js';

/**
 * @param {{title: string, text?: string, label?: string | null, value?: string, ok?: string, other?: string | null, secret?: boolean, check?: (value: string) => string | null}} question
 * @returns {Promise<string|null>} the text ('' for a confirmation, 'other' for the third button), null if the user declined
 */
export function ask({ title, text = '', label = null, value = '', ok = texts.page.ok, other = null, secret = false, check = () => null }) {
  const [dialog, input, problem] = [$('ask-dialog'), $('ask-input'), $('ask-problem')];
  $('ask-title').textContent = title;
  $('ask-text').textContent = text;
  $('ask-text').hidden = !text;
  $('ask-label').hidden = label === null;
  $('ask-label-text').textContent = label ?? '';
  $('ask-ok').textContent = ok;
  $('ask-other').hidden = other === null;
  $('ask-other').textContent = other ?? '';
  input.type = secret ? 'password' : 'text';
  input.value = value;
  problem.textContent = '';
  problem.hidden = label === null;
  dialog.showModal();
  // A question without a field: Enter confirms.
  if (label === null) {
    $('ask-ok').focus();
  } else {
    input.focus();
    // The name without folder and extension is selected, as that is what is usually changed.
    input.setSelectionRange(value.lastIndexOf('/') + 1, value.includes('.') ? value.lastIndexOf('.') : value.length);
  }
  return new Promise((resolve) => {
    // One controller for all listeners: the dialog is used again for the next question.
    const done = new AbortController();
    const finish = (/** @type {string | null} */ answer) => {
      done.abort();
      if (secret) input.value = '';
      dialog.close();
      resolve(answer);
    };
    $('ask-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const answer = input.value.trim().normalize('NFC'); // as the names of all files here
      const wrong = label === null ? null : check(answer);
      problem.textContent = wrong ?? '';
      if (!wrong) finish(label === null ? '' : answer);
    }, { signal: done.signal });
    $('ask-other').addEventListener('click', () => finish('other'), { signal: done.signal });
    $('ask-cancel').addEventListener('click', () => finish(null), { signal: done.signal });
    // Escape.
    dialog.addEventListener('cancel', () => finish(null), { signal: done.signal });
  });
}
