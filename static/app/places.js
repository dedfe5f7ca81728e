// The parts of the page: which are shown, and moving between them with the keyboard.
import { $, all, narrow } from './dom.js';
import { showView } from './layout.js';

/**
 * @param {{editor: import('./editor.js').Editor, program: import('./screen.js').Screen, shell: import('./screen.js').Screen}} page
 * @returns {(by: number) => void} goes to the next (1) or previous (-1) part
 */
export function setUpPlaces({ editor, program, shell }) {
  const screens = [program, shell];
  for (const button of all('.views button')) {
    button.addEventListener('click', () => {
      showView(/** @type {import('./layout.js').View} */ (button.dataset.view));
      for (const screen of screens) screen.view.refit();
    });
  }
  const shellShown = () => (narrow.matches ? document.body.dataset.view === 'shell' : document.body.dataset.shell === 'open');
  const filesShown = () => (narrow.matches ? document.body.dataset.view === 'files' : document.body.dataset.tree === 'open');
  const view = (/** @type {import('./layout.js').View} */ name) => narrow.matches && showView(name);
  /** @param {string} id @returns {HTMLButtonElement | null} */
  const first = (id) => $(id).querySelector('button:not(:disabled)');
  const reached = (/** @type {string} */ id) => first(id)?.checkVisibility() ?? false;

  const places = [
    { is: '.files', go: () => /** @type {HTMLElement | null} */ ($('tree').querySelector('[tabindex="0"]'))?.focus(), shown: filesShown },
    { is: '.code', go: () => (view('code'), editor.focus()), shown: () => true },
    { is: '.program', go: () => (view('program'), program.view.focus()), shown: () => true },
    { is: '.problems', go: () => first('problems-list')?.focus(), shown: () => reached('problems-list') },
    { is: '.artifacts', go: () => first('artifacts-list')?.focus(), shown: () => reached('artifacts-list') },
    { is: '.shell', go: () => shell.view.focus(), shown: shellShown },
    { is: '.bar', go: () => ($('run').hidden ? $('stop') : $('run')).focus(), shown: () => true },
  ];
  // The lists of problems and of files are inside the program's part: the innermost counts.
  const inside = (/** @type {{is: string}[]} */ shown) => {
    const at = shown.map(({ is }) => document.activeElement?.closest(is) ?? null);
    return at.findIndex((one) => one && !at.some((other) => other && other !== one && one.contains(other)));
  };
  return (by) => {
    const shown = places.filter((place) => place.shown());
    shown[(inside(shown) + by + shown.length) % shown.length].go();
  };
}
