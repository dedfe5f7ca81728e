// What the core uses of its surroundings, by what Node and browsers have both.
import { toBase64, utf8 } from '../../static/core/bytes.js';

const BEARER = 'coderunner.bearer.'; // prefix of the WebSocket's subprotocol that carries a key

/** @typedef {import('../../static/core/types.js').World} World */

/** @returns {Promise<typeof WebSocket>} the surroundings' own; Node has one from version 22 on */
async function sockets() {
  if (globalThis.WebSocket) return globalThis.WebSocket;
  // @ts-expect-error: it comes without declarations.
  return (await import('ws')).WebSocket;
}

/**
 * @param {URL} base the server's address @param {string | null} key
 * @returns {Promise<World>}
 */
export async function worldOf(base, key) {
  const Socket = await sockets();
  const encoded = key === null ? null : toBase64(utf8(key)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
  return {
    connect: (url, protocol) => new Socket(url, encoded === null ? [protocol] : [protocol, BEARER + encoded]),
    url(session) {
      const url = new URL(session === null ? 'ws' : `ws/${encodeURIComponent(session)}`, base);
      url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
      return url.href;
    },
    fetch: (url, options) => fetch(url, options),
    api: (path) => new URL(path, base),
    // In Node a timer is an object, which its own clearTimeout takes.
    timers: { setTimeout: (act, ms) => /** @type {number} */ (/** @type {unknown} */ (setTimeout(act, ms))), clearTimeout: (id) => clearTimeout(id ?? undefined) },
    random: () => Math.random(),
    now: () => performance.now(),
  };
}
