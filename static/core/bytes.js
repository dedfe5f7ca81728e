// Bytes and their textual forms.

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const utf8 = (/** @type {string} */ text) => encoder.encode(text);

/** The text of UTF-8 bytes, or null where they are not UTF-8. */
export function textOf(/** @type {Uint8Array} */ bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

export function toBase64(/** @type {Uint8Array} */ bytes) {
  let binary = '';
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

/** `xterm` hands some input over as a string of one character a byte (mouse reports of old programs). */
export const latin1 = (/** @type {string} */ text) => Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
