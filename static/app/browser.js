// The browser as the core's world: sockets, requests, addresses, time, chance.

/** @type {import('../core/types.js').World} */
export const world = {
  connect: (url, protocol) => new WebSocket(url, protocol),
  /** Beside the page, whatever path it lies under. */
  url(session) {
    const url = new URL(session === null ? 'ws' : `ws/${encodeURIComponent(session)}`, document.baseURI);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return url.href;
  },
  fetch: (url, options) => fetch(url, options),
  api: (path) => new URL(path, document.baseURI),
  timers: { setTimeout: (act, ms) => setTimeout(act, ms), clearTimeout: (id) => clearTimeout(id ?? undefined) },
  random: () => Math.random(),
  now: () => performance.now(), // nobody sets this clock
};
