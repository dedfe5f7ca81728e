// What the terminal uses of xterm.js; bundled to static/dist/xterm.js.
export { Terminal } from '@xterm/xterm';
export { FitAddon } from '@xterm/addon-fit';
export { WebLinksAddon } from '@xterm/addon-web-links';
export { ImageAddon } from '@xterm/addon-image';
