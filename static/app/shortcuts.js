// Keyboard shortcuts that hold everywhere in the page, in the terminals as well.
import { $, el, isMac } from './dom.js';

const mod = isMac ? '⌘' : 'Ctrl';

const inTerminal = ({ target }) => Boolean(target.closest?.('.term')); // there the key is the program's

/** @param {any} act run, stop, save, problem(by), shell, next, previous, help */
export function setUpShortcuts(act) {
  const shortcuts = [
    { keys: `${mod} Enter`, does: 'Run the program (a running one is stopped first)', act: act.run, is: (e, m) => m && e.key === 'Enter' },
    { keys: `${mod} .`, also: 'Shift Esc', does: 'Stop the program', act: act.stop, is: (e, m) => (m && e.key === '.') || (e.shiftKey && e.key === 'Escape') },
    { keys: `${isMac ? '⌃' : 'Ctrl'} \``, does: 'Go to the terminal, and back to the code', act: act.shell, is: (e) => e.ctrlKey && e.code === 'Backquote' },
    { keys: 'F6', also: 'Shift F6', does: 'Go to the next or previous part of the page', act: (e) => (e.shiftKey ? act.previous() : act.next()), is: (e) => e.key === 'F6' },
    { keys: `${mod} S`, does: 'Keep the project now; it is kept by itself, too', act: act.save, is: (e, m) => m && !e.shiftKey && e.key.toLowerCase() === 's' && !inTerminal(e) },
    { keys: 'F8', also: 'Shift F8', does: 'Go to the next or previous problem', act: (e) => act.problem(e.shiftKey ? -1 : 1), is: (e) => e.key === 'F8' && !inTerminal(e) },
    { keys: 'F1', does: 'This help', act: act.help, is: (e) => e.key === 'F1' },
  ];
  addEventListener('keydown', (event) => {
    if (event.isComposing || document.querySelector('dialog[open]')) return;
    const modified = (isMac ? event.metaKey : event.ctrlKey) && !event.altKey;
    const found = shortcuts.find(({ is }) => is(event, modified));
    if (!found) return;
    event.preventDefault();
    event.stopPropagation();
    found.act(event);
  }, { capture: true });

  const key = (text) => el('kbd', { textContent: text });
  const others = [
    { keys: `${mod} F`, does: 'Search in the file' },
    { keys: `${isMac ? '⌘' : 'Ctrl'} G`, does: 'Go to a line' },
    { keys: `${mod} Z`, does: 'Undo' },
    { keys: 'Esc, then Tab', does: 'Leave the editor with the keyboard' },
    { keys: 'F2', also: 'Del', does: 'Rename or delete the chosen file' },
  ];
  $('shortcuts').replaceChildren(...[...shortcuts, ...others].map(({ keys, also, does }) =>
    el('tr', {}, el('td', { textContent: does }), el('td', {}, key(keys), also ? ' ' : '', also ? key(also) : null))));
  for (const [id, text] of [['run', `${mod} ↵`], ['stop', `${mod} .`]]) $(id).querySelector('kbd').textContent = text;
}
