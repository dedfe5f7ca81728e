// What uploads and downloads use of zip.js; bundled to static/dist/zip.js. The browser's own streams unpack: no workers.
export {
  ERR_ENCRYPTED, ERR_INVALID_COMPRESSED_DATA, ERR_INVALID_CRC32, ERR_RESERVED_COMPRESSION_METHOD, ERR_UNDEFINED_COMPRESSION_METHOD,
  ERR_UNSUPPORTED_COMPRESSION, ERR_UNSUPPORTED_ENCRYPTION, Uint8ArrayReader, Uint8ArrayWriter, ZipReader, ZipWriter,
} from '@zip.js/zip.js/lib/zip-core-native.js';
