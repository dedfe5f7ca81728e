// Settings that are kept: text size, theme, screen reader mode.
import { texts } from '../core/texts.js';
import { announce } from './announce.js';
import { $, narrow } from './dom.js';
import { terminalTextSize } from './terminal.js';
import { setUpTheme, terminalColours } from './theme.js';

const LEAST = 10;
const MOST = 28;

/** @param {import('./store.js').Store} store @param {import('./terminal.js').TerminalView[]} views */
export function setUpSettings(store, views) {
  const set = (/** @type {import('@xterm/xterm').ITerminalOptions} */ options) => {
    for (const view of views) view.set(options);
  };
  const draw = () => {
    const { textSize, screenReader } = store.settings;
    document.documentElement.style.setProperty('--code-size', `${textSize}px`);
    document.documentElement.dataset.textSize = String(textSize);
    dispatchEvent(new Event('resize')); // before-paint.js adapts the page to its text size
    $('text-size').textContent = String(textSize);
    $('menu-reader').setAttribute('aria-checked', String(screenReader));
    set({ fontSize: terminalTextSize(textSize), screenReaderMode: screenReader });
  };
  const change = (/** @type {Partial<import('./store.js').Settings>} */ settings) => {
    store.set(settings);
    draw();
  };
  $('menu-reader').addEventListener('click', () => change({ screenReader: !store.settings.screenReader }));
  for (const [id, by] of /** @type {[string, number][]} */ ([['smaller', -1], ['larger', 1]])) {
    $(id).addEventListener('click', () => {
      change({ textSize: Math.min(MOST, Math.max(LEAST, store.settings.textSize + by)) });
      announce(texts.settings.textSizeIs(store.settings.textSize));
    });
  }
  // Terminals have a smaller text on a narrow screen.
  narrow.onChange(draw);
  draw();
  setUpTheme(store, () => set({ theme: terminalColours() }));
}
