// Many small files on their way to a workspace: together, as archives; a large one goes by itself.

const MAX_SMALL = 64 * 1024; // bytes of a file that goes with others
const MAX_BYTES = 1024 * 1024; // of an archive: below what any server takes
const MAX_FILES = 250; // of an archive: it is one request of the session, and others wait for it
const LEAST = 3; // fewer are written one by one

/** @typedef {{path: string, bytes: Uint8Array<ArrayBuffer>}} Packed */

/**
 * Files in parcels, each of which is one request: of one file, or of several that are packed together.
 * @param {Packed[]} files
 * @returns {Packed[][]}
 */
export function parcels(files) {
  const small = files.filter(({ bytes }) => bytes.length <= MAX_SMALL);
  const alone = files.filter(({ bytes }) => bytes.length > MAX_SMALL);
  if (small.length < LEAST) return files.map((file) => [file]);
  /** @type {Packed[][]} */ const found = [];
  let room = 0;
  for (const file of small) {
    const last = found.at(-1);
    if (last && last.length < MAX_FILES && room >= file.bytes.length) last.push(file);
    else {
      found.push([file]);
      room = MAX_BYTES;
    }
    room -= file.bytes.length;
  }
  return [...found, ...alone.map((file) => [file])];
}
