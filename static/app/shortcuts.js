// Keyboard shortcuts that work everywhere in the page, also in the terminals.
import { texts } from '../core/texts.js';
import { $, el, isMac } from './dom.js';

/** @typedef {(event: KeyboardEvent) => unknown} Act */
/** @typedef {{keys: string, also?: string, does: string, act: Act, is(event: KeyboardEvent, modified: boolean): boolean}} Shortcut */

const inTerminal = (/** @type {Event} */ { target }) => target instanceof Element && target.closest('.term') !== null; // there the key belongs to the program

/**
 * @param {{run: Act, stop: Act, save: Act, problem(by: 1 | -1): unknown, shell: Act, next(): unknown, previous(): unknown, help: Act}} act
 */
export function setUpShortcuts(act) {
  const { help, keys: names } = texts;
  const mod = isMac ? '⌘' : names.ctrl;
  /** @type {Shortcut[]} */ const shortcuts = [
    { keys: `${mod} ${help.enter}`, does: help.run, act: act.run, is: (e, m) => m && e.key === 'Enter' },
    { keys: `${mod} .`, also: help.shiftEsc, does: help.stop, act: act.stop, is: (e, m) => (m && e.key === '.') || (e.shiftKey && e.key === 'Escape') },
    { keys: `${isMac ? '⌃' : names.ctrl} \``, does: help.shell, act: act.shell, is: (e) => e.ctrlKey && e.code === 'Backquote' },
    { keys: 'F6', also: help.shiftF6, does: help.parts, act: (e) => (e.shiftKey ? act.previous() : act.next()), is: (e) => e.key === 'F6' },
    { keys: `${mod} S`, does: help.save, act: act.save, is: (e, m) => m && !e.shiftKey && e.key.toLowerCase() === 's' && !inTerminal(e) },
    { keys: 'F8', also: help.shiftF8, does: help.problem, act: (e) => act.problem(e.shiftKey ? -1 : 1), is: (e) => e.key === 'F8' && !inTerminal(e) },
    { keys: 'F1', does: help.help, act: act.help, is: (e) => e.key === 'F1' },
  ];
  addEventListener('keydown', (event) => {
    // The key belongs to the input method.
    if (event.isComposing) return;
    const modified = (isMac ? event.metaKey : event.ctrlKey) && !event.altKey;
    const found = shortcuts.find(({ is }) => is(event, modified));
    if (!found) return;
    if (document.querySelector('dialog[open]')) { // the dialog is answered first; the browser's own dialog for this key is of no use
      if (found.act === act.save || found.act === act.help) event.preventDefault();
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    found.act(event);
  // In the capture phase, before terminals and the editor take the key.
  }, { capture: true });

  const key = (/** @type {string} */ text) => el('kbd', { textContent: text });
  // Shortcuts of the editor and the tree, listed in the help only.
  /** @type {Pick<Shortcut, 'keys' | 'also' | 'does'>[]} */ const others = [
    { keys: `${mod} F`, does: help.search },
    { keys: `${mod} G`, does: help.line },
    { keys: `${mod} Z`, does: help.undo },
    { keys: help.escTab, does: help.leave },
    { keys: 'F2', also: help.del, does: help.file },
  ];
  $('shortcuts').replaceChildren(...[...shortcuts, ...others].map(({ keys, also, does }) =>
    el('tr', {}, el('td', { textContent: does }), el('td', {}, key(keys), also ? ' ' : '', also ? key(also) : null))));
  for (const [id, text] of [['run', `${mod} ↵`], ['stop', `${mod} .`]]) /** @type {HTMLElement} */ ($(id).querySelector('kbd')).textContent = text;
}
