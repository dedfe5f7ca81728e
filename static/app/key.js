// The key with which the user of this tab signed in. It is kept for the tab only, and is never part of an address.
import { toBase64, utf8 } from '../core/bytes.js';

const NAME = 'coderunner.key';
const BEARER = 'coderunner.bearer.'; // prefix of the WebSocket's subprotocol that carries it

/** @returns {string | null} */
export function bearer() {
  return sessionStorage.getItem(NAME);
}

export function keepKey(/** @type {string} */ key) {
  sessionStorage.setItem(NAME, key);
}

export function forgetKey() {
  sessionStorage.removeItem(NAME);
}

/** The headers of a request with the key. @returns {Record<string, string>} */
export function credential() {
  const key = bearer();
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}

/** The subprotocols for a WebSocket: browsers let no page set a header of it. */
export function protocols(/** @type {string} */ protocol) {
  const key = bearer();
  return key === null ? [protocol] : [protocol, BEARER + toBase64(utf8(key)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')];
}
