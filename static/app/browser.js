// The browser as the core's world: sockets, addresses, time, chance.

export const world = {
  connect: (url, protocol) => new WebSocket(url, protocol),
  /** Beside the page, whatever path it lies under. */
  url(session) {
    const url = new URL(session === null ? 'ws' : `ws/${encodeURIComponent(session)}`, document.baseURI);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return url.href;
  },
  timers: { setTimeout: (act, ms) => setTimeout(act, ms), clearTimeout: (id) => clearTimeout(id) },
  random: () => Math.random(),
  now: () => Date.now(),
};
