// Zip archives in the page: a project as one, and what is in one that the user drops here.
import { joinBytes, textOf, utf8 } from './bytes.js';

const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const UTF8 = 0x0800;

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  let crc = value;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** @param files {path, bytes}[] @returns {Uint8Array} an archive without compression */
export function zip(files) {
  const parts = [];
  const central = [];
  let at = 0;
  for (const { path, bytes } of files) {
    const name = utf8(path);
    const common = [[20, 2], [UTF8, 2], [0, 2], [0, 2], [0x21, 2], [crc32(bytes), 4], [bytes.length, 4], [bytes.length, 4], [name.length, 2], [0, 2]];
    const local = fields([[LOCAL, 4], ...common]);
    central.push(fields([[CENTRAL, 4], [0x031e, 2], ...common, [0, 2], [0, 2], [0, 2], [0o100644 * 65536, 4], [at, 4]]), name);
    parts.push(local, name, bytes);
    at += local.length + name.length + bytes.length;
  }
  const size = central.reduce((sum, part) => sum + part.length, 0);
  return joinBytes([...parts, ...central, fields([[END, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [at, 4], [0, 2]])]);
}

function fields(values) {
  const bytes = new Uint8Array(values.reduce((sum, [, length]) => sum + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [value, length] of values) {
    if (length === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += length;
  }
  return bytes;
}

/**
 * The files of an archive, with the names as they stand there: not to be trusted.
 * @returns {Promise<{path: string, bytes: Uint8Array}[]>} raises an Error with words for the user
 */
export async function unzip(data, { mostFiles, mostBytes }) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  try {
    const members = directory(view, data, mostFiles);
    let left = mostBytes;
    const files = [];
    for (const member of members) {
      const bytes = await content(view, data, member, left);
      left -= bytes.length;
      files.push({ path: member.path, bytes });
    }
    return files;
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) throw new Error('The archive is broken.');
    throw error;
  }
}

function directory(view, data, mostFiles) {
  let at = data.length - 22;
  const least = Math.max(0, at - 0xffff);
  while (at >= least && view.getUint32(at, true) !== END) at -= 1;
  if (at < least) throw new Error('This is not a zip archive.');
  const count = view.getUint16(at + 10, true);
  if (count > mostFiles) throw new Error(`The archive has ${count} files; at most ${mostFiles} can be taken.`);
  let entry = view.getUint32(at + 16, true);
  const members = [];
  for (let number = 0; number < count; number += 1) {
    if (view.getUint32(entry, true) !== CENTRAL) throw new Error('The archive is broken.');
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => view.getUint16(entry + offset, true));
    const name = data.subarray(entry + 46, entry + 46 + nameLength);
    const path = textOf(name) ?? String.fromCharCode(...name);
    const [flags, method] = [view.getUint16(entry + 8, true), view.getUint16(entry + 10, true)];
    const [packed, size, offset] = [20, 24, 42].map((field) => view.getUint32(entry + field, true));
    const link = ((view.getUint32(entry + 38, true) >>> 28) & 0xf) === 0xa;
    if (!path.endsWith('/') && !link) members.push({ path, flags, method, packed, size, offset });
    entry += 46 + nameLength + extraLength + commentLength;
  }
  return members;
}

async function content(view, data, { path, flags, method, packed, offset }, most) {
  if (flags & 1) throw new Error(`“${path}” is encrypted.`);
  if (view.getUint32(offset, true) !== LOCAL) throw new Error('The archive is broken.');
  const begin = offset + 30 + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
  if (begin + packed > data.length) throw new Error('The archive is cut short.');
  const raw = data.subarray(begin, begin + packed);
  if (method === 0) {
    if (raw.length > most) throw new Error('The archive unpacks to more than can be taken.');
    return raw.slice();
  }
  if (method !== 8) throw new Error(`“${path}” is packed in a way that is not known here.`);
  return inflate(raw, most);
}

async function inflate(raw, most) {
  const reader = new Blob([raw]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return joinBytes(parts);
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw new Error('The archive unpacks to more than can be taken.');
    }
    parts.push(value);
  }
}
