// What callers give as the content of files or as input.
import { toBase64, utf8 } from '../../static/core/bytes.js';
import { textBytes } from '../../static/core/codec.js';
import { Refused } from './refused.js';

/** @typedef {string | Uint8Array<ArrayBuffer>} Content of a file */
/** @typedef {Record<string, Content>} Files by their paths */

/** `what`: its name in an error. @returns {Content} throws Refused for what is neither text nor bytes */
export function checked(/** @type {unknown} */ data, /** @type {string} */ what) {
  if (typeof data !== 'string' && !(data instanceof Uint8Array)) throw new Refused(`${what} is neither a text nor bytes (a Uint8Array)`, 'bad_message');
  if (typeof data === 'string' && !data.isWellFormed()) throw new Refused(`${what} is no text: it has half a character (a lone surrogate)`, 'bad_message');
  return /** @type {Content} */ (data);
}

/** The bytes of a text or of bytes. Throws Refused as for any other content. */
export function bytesOf(/** @type {string | Uint8Array} */ data, /** @type {string} */ what) {
  const content = checked(data, what);
  return typeof content === 'string' ? utf8(content) : content;
}

/** Bytes of files that are sent with a run: of the 2 MiB that a server accepts, as JSON; arguments need some, too. */
export const RUN_ROOM = 1024 * 1024;
/** The same with the message that opens a session, of 64 KiB. */
export const FIRST_ROOM = 48 * 1024;

/** @typedef {import('../../static/core/messages.js').File} File */
/** Files for a message with so much room for them, in bytes, and those that are to be uploaded. @returns {{sent: File[], large: Files}} throws as `asFiles` */
export function divided(/** @type {Files} */ files, /** @type {number} */ room) {
  /** @type {File[]} */ const sent = [];
  /** @type {Files} */ const large = Object.create(null); // `__proto__` is a valid name
  for (const file of asFiles(files)) {
    const bytes = textBytes(file) + 1;
    if (bytes > room) large[file.path] = files[file.path];
    else {
      sent.push(file);
      room -= bytes;
    }
  }
  return { sent, large };
}

/** @returns {File[]} throws Refused for a content that cannot be sent */
export const asFiles = (/** @type {Files} */ files) => Object.entries(files).map(([path, given]) => {
  const content = checked(given, path);
  return typeof content === 'string' ? { path, content } : { path, content_base64: toBase64(content) };
});
