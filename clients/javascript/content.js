// What callers give as the content of files or as input.
import { toBase64, utf8 } from '../../static/core/bytes.js';
import { Refused } from './refused.js';

/** @typedef {string | Uint8Array<ArrayBuffer>} Content of a file */
/** @typedef {Record<string, Content>} Files by their paths */

/** `what`: its name in an error. @returns {Content} throws Refused for what is neither text nor bytes */
function checked(/** @type {unknown} */ data, /** @type {string} */ what) {
  if (typeof data !== 'string' && !(data instanceof Uint8Array)) throw new Refused(`${what} is neither a text nor bytes (a Uint8Array)`, 'bad_message');
  if (typeof data === 'string' && !data.isWellFormed()) throw new Refused(`${what} is no text: it has half a character (a lone surrogate)`, 'bad_message');
  return /** @type {Content} */ (data);
}

/** The bytes of a text or of bytes. Throws Refused as for any other content. */
export function bytesOf(/** @type {string | Uint8Array} */ data, /** @type {string} */ what) {
  const content = checked(data, what);
  return typeof content === 'string' ? utf8(content) : content;
}

/** @returns {import('../../static/core/messages.js').File[]} throws Refused for a content that cannot be sent */
export const asFiles = (/** @type {Files} */ files) => Object.entries(files).map(([path, given]) => {
  const content = checked(given, path);
  return typeof content === 'string' ? { path, content } : { path, content_base64: toBase64(content) };
});
