// Zip archives in the page: a project as one, and the contents of one that the user drops here. The library is zip.js:
// it checks sums, reads zip64, and tells how names are encoded.
import { textOf } from './bytes.js';
import { decoderOf } from './codepages.js';
import { messageOf } from './faults.js';
import { texts } from './texts.js';

const DOS = new Set([0, 10, 11, 14]); // hosts in whose archives a backslash separates folders

/** @type {Record<string, 'zipEncrypted' | 'zipUnknown' | 'zipSum' | 'zipDamaged'>} by the library's name of an error */
const PROBLEMS = {
  ERR_ENCRYPTED: 'zipEncrypted', ERR_UNSUPPORTED_ENCRYPTION: 'zipEncrypted', ERR_UNSUPPORTED_COMPRESSION: 'zipUnknown',
  ERR_RESERVED_COMPRESSION_METHOD: 'zipUnknown', ERR_UNDEFINED_COMPRESSION_METHOD: 'zipUnknown', ERR_INVALID_CRC32: 'zipSum',
  ERR_INVALID_COMPRESSED_DATA: 'zipDamaged',
};

/** Decodes a name: as UTF-8 if it is marked so or is valid, otherwise by `other`; undefined: as the library does, which is CP437. */
function named(/** @type {(bytes: Uint8Array) => string | undefined} */ other = (bytes) => textOf(bytes) ?? undefined) {
  return (/** @type {Uint8Array} */ bytes, /** @type {string} */ encoding) => (/^utf-?8$/i.test(encoding ?? '') ? textOf(bytes) ?? undefined : other(bytes));
}

/**
 * @param {typeof import('../vendor/zip.js')} lib @param {{path: string, bytes: Uint8Array<ArrayBuffer>}[]} files
 * @param {{level?: number}} options `level`: 0 (no compression) to 9 (the best)
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function zip(lib, files, { level = 5 } = {}) {
  const writer = new lib.ZipWriter(new lib.Uint8ArrayWriter(), { useWebWorkers: false, useUnicodeFileNames: true, level });
  for (const { path, bytes } of files) await writer.add(path, new lib.Uint8ArrayReader(bytes));
  return writer.close();
}

/**
 * The files of an archive, with the names as they are in it, which cannot be trusted.
 * @param language of the user: for names in the code page of an old machine
 * @returns {Promise<{path: string, bytes: Uint8Array<ArrayBuffer>}[]>} raises an Error with words for the user
 */
export async function unzip(/** @type {typeof import('../vendor/zip.js')} */ lib, /** @type {Uint8Array} */ data, /** @type {{maxFiles: number, maxBytes: number, language?: string}} */ { maxFiles, maxBytes, language = 'en' }) {
  /** @type {import('@zip.js/zip.js').ZipReaderConstructorOptions} */ const options = { useWebWorkers: false, checkSignature: true, decodeText: named(), filenameValidation: 'tolerant' }; // the page checks names itself
  const reader = new lib.ZipReader(new lib.Uint8ArrayReader(data), options);
  let entries = await reader.getEntries().catch(() => { throw new Error(texts.upload.noZip); });
  // Names that are neither marked as UTF-8 nor valid in it.
  const foreign = entries.filter(({ filenameUTF8, rawFilename }) => !filenameUTF8 && textOf(rawFilename) === null);
  if (foreign.length) {
    const pages = decoderOf(foreign.map(({ rawFilename, filename }) => ({ bytes: rawFilename, cp437: filename })), language);
    entries = await reader.getEntries({ decodeText: named(pages) });
  }
  // 0xa in the file type is a symbolic link of Unix, which the library does not always recognise.
  const members = entries.filter(({ directory, symlink, externalFileAttributes }) => !directory && !symlink && ((externalFileAttributes >>> 28) & 0xf) !== 0xa);
  if (members.length > maxFiles) throw new Error(texts.upload.zipMany(members.length, maxFiles));
  // Of all members together: an archive may unpack to a thousand times its size.
  let left = maxBytes;
  const files = [];
  for (const member of members) {
    if (member.directory) continue;
    const path = pathOf(member);
    if (member.encrypted) throw new Error(texts.upload.zipFile(path, texts.upload.zipEncrypted));
    const bytes = await content(lib, member, path, left);
    left -= bytes.length;
    files.push({ path, bytes });
  }
  await reader.close();
  return files;
}

function pathOf(/** @type {{filename: string, versionMadeBy?: number}} */ { filename, versionMadeBy = 0 }) {
  const name = filename.normalize('NFC');
  return DOS.has(versionMadeBy >> 8) ? name.replaceAll('\\', '/') : name;
}

/** The unpacked content of a member, whatever size its header gives. */
async function content(/** @type {typeof import('../vendor/zip.js')} */ lib, /** @type {import('@zip.js/zip.js').FileEntry} */ member, /** @type {string} */ path, /** @type {number} */ most) {
  /** @type {Uint8Array[]} */ const parts = [];
  let size = 0;
  const sink = new WritableStream({
    write(part) {
      size += part.length;
      // Ends the unpacking at once.
      if (size > most) throw new RangeError('too large');
      parts.push(part);
    },
  });
  try {
    await member.getData(sink, { useWebWorkers: false, checkSignature: true });
  } catch (error) {
    if (size > most) throw new Error(texts.upload.zipLarge);
    const known = Object.keys(PROBLEMS).find((name) => lib[/** @type {keyof typeof lib} */ (name)] === messageOf(error));
    throw new Error(texts.upload.zipFile(path, texts.upload[PROBLEMS[known ?? ''] ?? 'zipBroken']));
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
