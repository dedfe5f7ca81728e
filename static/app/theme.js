// Dark or light: the system's theme until the user selects one.
import { $ } from './dom.js';

const system = matchMedia('(prefers-color-scheme: dark)');
const ANSI = {
  dark: {
    background: '#171a20', foreground: '#dfe4ec', cursor: '#3ecfa9', cursorAccent: '#171a20', selectionBackground: '#2f5a4e',
    scrollbarSliderBackground: '#8892a040', scrollbarSliderHoverBackground: '#8892a070', scrollbarSliderActiveBackground: '#8892a090',
    black: '#2b313b', red: '#f2777a', green: '#7fd39a', yellow: '#e9c46a', blue: '#74b4f5', magenta: '#cf9bf0', cyan: '#62d0cc', white: '#ccd3dd',
    brightBlack: '#6d7887', brightRed: '#ff9a94', brightGreen: '#a1e6b4', brightYellow: '#f5d98b', brightBlue: '#9cccff', brightMagenta: '#e0bbfa', brightCyan: '#8ee6e2', brightWhite: '#ffffff',
  },
  light: {
    background: '#ffffff', foreground: '#1d232b', cursor: '#0b7a63', cursorAccent: '#ffffff', selectionBackground: '#bfe3d9',
    scrollbarSliderBackground: '#59636f33', scrollbarSliderHoverBackground: '#59636f66', scrollbarSliderActiveBackground: '#59636f88',
    black: '#1d232b', red: '#b3261e', green: '#1a7048', yellow: '#8a5a00', blue: '#0a5fae', magenta: '#8a3fa8', cyan: '#0d6f78', white: '#6b7480',
    brightBlack: '#59636f', brightRed: '#cc3a31', brightGreen: '#228a59', brightYellow: '#a36b00', brightBlue: '#1c74c9', brightMagenta: '#a155c0', brightCyan: '#128490', brightWhite: '#3a424d',
  },
};

const isDark = () => {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === 'dark' : system.matches;
};

export const terminalColours = () => ANSI[isDark() ? 'dark' : 'light'];

/** @param {import('./store.js').Store} store @param {() => unknown} changed called after each change */
export function setUpTheme(store, changed) {
  // null: the system's again.
  const apply = (/** @type {'dark' | 'light' | null} */ theme) => {
    store.set({ theme });
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    $('menu-system-theme').setAttribute('aria-checked', String(!theme));
    changed();
  };
  for (const id of ['theme', 'menu-theme']) $(id).addEventListener('click', () => apply(isDark() ? 'light' : 'dark'));
  $('menu-system-theme').addEventListener('click', () => apply(store.settings.theme ? null : isDark() ? 'dark' : 'light'));
  system.addEventListener('change', changed);
  apply(store.settings.theme);
}
