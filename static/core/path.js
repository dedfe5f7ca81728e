// Names of files in a project. The same rules as the server's, so that a bad name is told where it is typed.

const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\\]/;

/** @returns {string | null} what is wrong with `path`, or null */
export function pathProblem(path, others = []) {
  if (!path) return 'A file needs a name.';
  if (path.startsWith('/')) return 'A name must not begin with “/”.';
  if (FORBIDDEN.test(path) || !path.isWellFormed()) return 'The name has a character that cannot be used.';
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'A part of the name between “/” is missing, “.” or “..”.';
  const bytes = (text) => new TextEncoder().encode(text).length;
  if (parts.some((part) => bytes(part) > 255) || bytes(path) > 1024) return 'The name is too long.';
  if (parts.length > 32) return 'There are too many folders in one another.';
  const plain = path.normalize('NFC');
  for (const other of others) {
    const known = other.normalize('NFC');
    if (known === plain) return 'There is a file of this name already.';
    if (known.startsWith(`${plain}/`)) return 'There is a folder of this name already.';
    if (plain.startsWith(`${known}/`)) return `“${other}” is a file, not a folder.`;
  }
  return null;
}
