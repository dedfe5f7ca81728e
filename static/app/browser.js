// The browser's interfaces that `core/` uses: sockets, requests, addresses, timers, random numbers, a clock.
import { protocols } from './key.js';

/** The server's address, wherever a proxy has mounted it: that of the page, or what its markup says is above it. */
const ROOT = new URL(document.documentElement.dataset.root ?? '.', document.baseURI);

/** @type {import('../core/types.js').World} */
export const world = {
  connect: (url, protocol) => new WebSocket(url, protocols(protocol)),
  url(session) {
    const url = new URL(session === null ? 'ws' : `ws/${encodeURIComponent(session)}`, ROOT);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return url.href;
  },
  fetch: (url, options) => fetch(url, options),
  api: (path) => new URL(path, ROOT),
  timers: { setTimeout: (act, ms) => setTimeout(act, ms), clearTimeout: (id) => clearTimeout(id ?? undefined) },
  random: () => Math.random(),
  now: () => performance.now(), // monotonic: unaffected by changes of the system's clock
};
