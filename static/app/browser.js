// The browser's interfaces that `core/` uses: sockets, requests, addresses, timers, random numbers, a clock.
import { protocols } from './key.js';

/** @type {import('../core/types.js').World} */
export const world = {
  connect: (url, protocol) => new WebSocket(url, protocols(protocol)),
  /** Relative to the page, wherever a proxy has mounted it. */
  url(session) {
    const url = new URL(session === null ? 'ws' : `ws/${encodeURIComponent(session)}`, document.baseURI);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return url.href;
  },
  fetch: (url, options) => fetch(url, options),
  api: (path) => new URL(path, document.baseURI),
  timers: { setTimeout: (act, ms) => setTimeout(act, ms), clearTimeout: (id) => clearTimeout(id ?? undefined) },
  random: () => Math.random(),
  now: () => performance.now(), // monotonic: unaffected by changes of the system's clock
};
