// Names of files in a project. The same rules as the server's, so that an invalid name is reported where it is typed.
import { texts } from './texts.js';

// Control characters, marks of the writing direction (which make names look like others), and the backslash.
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\\]/;

/** @returns {string | null} a sentence about what is wrong with `path`, or null */
export function pathProblem(/** @type {string} */ path, /** @type {string[]} */ others = []) {
  if (!path) return texts.names.missing;
  if (path.startsWith('/')) return texts.names.slash;
  if (FORBIDDEN.test(path) || !path.isWellFormed()) return texts.names.character;
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return texts.names.part;
  const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text).length;
  if (parts.some((part) => bytes(part) > 255) || bytes(path) > 1024) return texts.names.long;
  if (parts.length > 32) return texts.names.deep;
  // Names that look alike but are encoded differently are one file on macOS.
  const plain = path.normalize('NFC');
  for (const other of others) {
    const known = other.normalize('NFC');
    if (known === plain) return texts.names.file;
    if (known.startsWith(`${plain}/`)) return texts.names.folder;
    if (plain.startsWith(`${known}/`)) return texts.names.noFolder(other);
  }
  return null;
}
