// Bytes and their textual forms.

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const utf8 = (/** @type {string} */ text) => encoder.encode(text);

/** The text of UTF-8 bytes; null if they are not UTF-8. */
export function textOf(/** @type {Uint8Array} */ bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

// Control characters that no text has.
const NO_TEXT = /[\u0000-\u0007\u000e-\u001a\u001c-\u001f\u007f]/u;

/**
 * A text in one of several encodings, for display: UTF-16 with its mark, UTF-8, or that of old Windows programs.
 * @param {Uint8Array} bytes of a file's beginning @param {boolean} whole whether they are all of it
 * @returns {{text: string, encoding: string} | null} null if it is no text
 */
export function anyText(bytes, whole) {
  const mark = bytes[0] === 0xff && bytes[1] === 0xfe ? 'UTF-16LE' : bytes[0] === 0xfe && bytes[1] === 0xff ? 'UTF-16BE' : null;
  for (const encoding of mark ? [mark] : ['UTF-8', 'Windows-1252']) {
    try {
      const text = new TextDecoder(encoding, { fatal: true }).decode(bytes, { stream: !whole }); // the last character may be incomplete
      const foreign = text.match(/[^\u0000-\u007f]/g)?.length ?? 0;
      // Any bytes are valid in Windows-1252: a text in it is mostly ASCII.
      if (NO_TEXT.test(text) || (encoding === 'Windows-1252' && foreign > text.length / 2)) continue;
      return { text, encoding };
    } catch { /* another encoding */ }
  }
  return null;
}

export function toBase64(/** @type {Uint8Array} */ bytes) {
  let binary = '';
  // In parts, as a call takes a limited number of arguments.
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
}

export function fromBase64(/** @type {string} */ text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

export function joinBytes(/** @type {Uint8Array[]} */ parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** 128 random bits as 22 characters of base64url: a client id or a nonce. */
export function randomId(fill = (/** @type {Uint8Array<ArrayBuffer>} */ bytes) => crypto.getRandomValues(bytes)) {
  return toBase64(fill(new Uint8Array(16))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** xterm.js passes some input as a string of one character for each byte (mouse reports of old programs). */
export const latin1 = (/** @type {string} */ text) => Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
