// Groups small files for the way to a workspace into archives; large ones are sent by themselves.

const MAX_SMALL = 64 * 1024; // bytes of a file that is packed with others
const MAX_BYTES = 1024 * 1024; // of an archive: below the limit of any server
const MAX_FILES = 250; // of an archive: other requests of the session wait for it
const LEAST = 3; // fewer are written one by one

/** @typedef {{path: string, bytes: Uint8Array<ArrayBuffer>}} Packed */

/**
 * Groups files into parcels, each of which is one request: one file, or several that are packed together.
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
