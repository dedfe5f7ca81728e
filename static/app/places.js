// The parts of the page: which are shown, and going from one to the next with the keyboard.
import { $, all, narrow } from './dom.js';
import { showView } from './layout.js';

/** @returns {(by: number) => void} goes to the next (1) or previous (-1) part */
export function setUpPlaces({ editor, program, shell }) {
  const screens = [program, shell];
  for (const button of all('.views button')) {
    button.addEventListener('click', () => {
      showView(button.dataset.view);
      for (const screen of screens) screen.view.refit();
    });
  }
  const shellShown = () => (narrow.matches ? document.body.dataset.view === 'shell' : document.body.dataset.shell === 'open');
  const filesShown = () => (narrow.matches ? document.body.dataset.view === 'files' : document.body.dataset.tree === 'open');
  const view = (name) => narrow.matches && showView(name);
  const first = (id) => $(id)?.querySelector('button:not(:disabled)');

  const places = [
    { is: '.files', go: () => $('tree').querySelector('[tabindex="0"]')?.focus(), shown: filesShown },
    { is: '.code', go: () => (view('code'), editor.focus()), shown: () => true },
    { is: '.program', go: () => (view('program'), program.view.focus()), shown: () => true },
    { is: '.problems', go: () => first('problems-list').focus(), shown: () => first('problems-list')?.checkVisibility() },
    { is: '.artifacts', go: () => first('artifacts-list').focus(), shown: () => first('artifacts-list')?.checkVisibility() },
    { is: '.shell', go: () => shell.view.focus(), shown: shellShown },
    { is: '.bar', go: () => ($('run').hidden ? $('stop') : $('run')).focus(), shown: () => true },
  ];
  // The list and the strip are inside the program's part: the innermost counts.
  const inside = (shown) => {
    const at = shown.map(({ is }) => document.activeElement?.closest(is) ?? null);
    return at.findIndex((one) => one && !at.some((other) => other && other !== one && one.contains(other)));
  };
  return (by) => {
    const shown = places.filter((place) => place.shown());
    shown[(inside(shown) + by + shown.length) % shown.length].go();
  };
}
