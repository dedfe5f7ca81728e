// The frames of `coderunner.v1`: encoding and decoding. Invalid input raises CodecError with the protocol's code, and
// nothing else.
//
//   binary   u8 kind | u8 stream | u16 channel | u64 offset | payload        (big-endian)
//            kind 1: output, stream 1 stdout or 2 stderr; kind 2: input, stream 0
//   text     one JSON object with a `type`

import { SERVER } from './messages.js';

/** @typedef {((value: any) => boolean) & {optional?: boolean}} Check of a value */

export { PROTOCOL } from './messages.js';
export const HEADER = 12;
export const MAX_PAYLOAD = 65_536;
export const MAX_TEXT = 2 * 1024 * 1024;
const STDOUT = 1;
export const STDERR = 2;

const OUTPUT = 1;
const INPUT = 2;

export class CodecError extends Error {
  constructor(/** @type {string} */ code, /** @type {string} */ message) {
    super(message);
    this.name = 'CodecError';
    this.code = code;
  }
}

function encodeFrame(/** @type {number} */ kind, /** @type {number} */ stream, /** @type {number} */ channel, /** @type {number} */ offset, /** @type {Uint8Array} */ payload) {
  if (!Number.isInteger(channel) || channel < 0 || channel > 0xffff) throw new CodecError('bad_frame', 'no such channel');
  if (payload.length > MAX_PAYLOAD) throw new CodecError('frame_too_large', `at most ${MAX_PAYLOAD} bytes in a frame`);
  // Beyond 2^53 JavaScript's numbers are not exact.
  if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(offset + payload.length)) {
    throw new CodecError('bad_frame', 'an offset is a whole number below 2^53');
  }
  const frame = new Uint8Array(HEADER + payload.length);
  const view = new DataView(frame.buffer);
  view.setUint8(0, kind);
  view.setUint8(1, stream);
  view.setUint16(2, channel);
  view.setBigUint64(4, BigInt(offset));
  frame.set(payload, HEADER);
  return frame;
}

function decodeFrame(/** @type {Uint8Array | ArrayBuffer} */ data, /** @type {number} */ kind, /** @type {number[]} */ streams) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  if (bytes.length < HEADER) throw new CodecError('bad_frame', 'a frame is shorter than its header');
  if (bytes.length > HEADER + MAX_PAYLOAD) throw new CodecError('frame_too_large', `at most ${MAX_PAYLOAD} bytes in a frame`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const payload = bytes.subarray(HEADER);
  const stream = view.getUint8(1);
  const offset = view.getBigUint64(4);
  if (view.getUint8(0) !== kind) throw new CodecError('bad_frame', `a frame is of kind ${view.getUint8(0)}, not ${kind}`);
  if (!streams.includes(stream)) throw new CodecError('bad_frame', `a frame has the stream ${stream}`);
  if (offset + BigInt(payload.length) > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new CodecError('bad_frame', 'an offset is a whole number below 2^53');
  }
  return { channel: view.getUint16(2), stream, offset: Number(offset), payload };
}

export const encodeInput = (/** @type {number} */ channel, /** @type {number} */ offset, /** @type {Uint8Array} */ payload) => encodeFrame(INPUT, 0, channel, offset, payload);
export const encodeOutput = (/** @type {number} */ channel, /** @type {number} */ stream, /** @type {number} */ offset, /** @type {Uint8Array} */ payload) => encodeFrame(OUTPUT, stream, channel, offset, payload);

/** @returns {{channel: number, stream: number, offset: number, payload: Uint8Array}} */
export function decodeOutput(/** @type {Uint8Array | ArrayBuffer} */ data) {
  return decodeFrame(data, OUTPUT, [STDOUT, STDERR]);
}

/** @returns {{channel: number, offset: number, payload: Uint8Array}} */
export function decodeInput(/** @type {Uint8Array | ArrayBuffer} */ data) {
  const { channel, offset, payload } = decodeFrame(data, INPUT, [0]);
  return { channel, offset, payload };
}

// --- text: the fields of each message of the server ---------------------------------------------------------

const isObject = (/** @type {any} */ value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (/** @type {any} */ value) => typeof value === 'string';
const isKey = (/** @type {any} */ key) => String(Number(key)) === key;

/** By a word in a table of messages.js: makes a check of a value from the words after it. @type {Record<string, (...rest: any[]) => Check>} */
const CHECKS = {
  text: () => text,
  truth: () => (value) => typeof value === 'boolean',
  number: () => (value) => typeof value === 'number' && Number.isFinite(value),
  natural: () => (value) => Number.isSafeInteger(value) && value >= 0,
  whole: (low, high) => (value) => Number.isSafeInteger(value) && value >= low && value <= high,
  one: (...names) => (value) => names.includes(value),
  null: (spec) => {
    const check = compile(spec);
    return (value) => value === null || check(value);
  },
  list: (spec) => {
    const check = compile(spec);
    return (value) => Array.isArray(value) && value.every(check);
  },
  map: (key, spec) => {
    const check = compile(spec);
    // Keys of an object are always texts, also those that are numbers.
    const named = key === 'text' ? text : ((number) => (/** @type {string} */ name) => isKey(name) && number(Number(name)))(compile(key));
    return (value) => isObject(value) && Object.entries(value).every(([name, field]) => named(name) && check(field));
  },
};

/** @returns {Check} */
function compile(/** @type {any} */ spec) {
  if (!Array.isArray(spec) && isObject(spec)) {
    const fields = compileFields(spec);
    return (value) => isObject(value) && missing(value, fields) === null;
  }
  const [word, ...rest] = Array.isArray(spec) ? spec : [spec];
  return CHECKS[word](...rest);
}

/** Checks by field; a field whose name ends with `?` may be absent or null. @returns {Record<string, Check>} */
function compileFields(/** @type {Record<string, any>} */ table) {
  return Object.fromEntries(Object.entries(table).map(([name, spec]) => {
    const check = compile(spec);
    const optional = name.endsWith('?');
    return [name.replace('?', ''), optional ? Object.assign((/** @type {any} */ value) => value === undefined || value === null || check(value), { optional }) : check];
  }));
}

const missing = (/** @type {any} */ value, /** @type {Record<string, any>} */ fields) => Object.keys(fields).find((name) => !fields[name](value[name])) ?? null;

// Compiled once, as messages come by the thousand.
const MESSAGES = Object.fromEntries(Object.entries(SERVER).map(([type, table]) => [type, compileFields(table)]));

/**
 * Decodes a message of the server: an object with `type` and that type's fields; unknown fields are dropped.
 * @returns {import('./messages.js').ServerMessage}
 */
export function decodeServer(/** @type {string} */ data) {
  // Before parsing, which would build everything.
  if (data.length > MAX_TEXT) throw new CodecError('frame_too_large', `at most ${MAX_TEXT} bytes in a text frame`);
  let value;
  try {
    value = JSON.parse(data);
  } catch {
    throw new CodecError('bad_json', 'a text frame is not JSON');
  }
  if (!isObject(value)) throw new CodecError('bad_json', 'a text frame is not a JSON object');
  if (!text(value.type)) throw new CodecError('bad_message', 'type is missing');
  if (!Object.hasOwn(MESSAGES, value.type)) throw new CodecError('unknown_type', `the type ${value.type.slice(0, 64)} is not known`);
  const fields = MESSAGES[value.type];
  const wrong = missing(value, fields);
  if (wrong !== null) throw new CodecError('bad_message', `${value.type}.${wrong} is missing or wrong`);
  // Unknown fields are dropped and no error: a newer server may send more.
  const known = Object.entries(value).filter(([name, field]) => name === 'type' || (fields[name] && !(fields[name].optional && field === null)));
  return /** @type {any} */ (Object.fromEntries(known));
}

/** The length of a message in bytes. */
export const textBytes = (/** @type {object} */ message) => new TextEncoder().encode(JSON.stringify(message)).length;

// Half of a character of UTF-16 (a lone surrogate): JSON has it as an escape, whose backslash is no text's own.
const HALF = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

/** Where a value has half a character, in words; null if it has none. @returns {string | null} */
function halfIn(/** @type {unknown} */ value, name = '') {
  if (typeof value === 'string') return value.isWellFormed() ? null : name;
  if (typeof value !== 'object' || value === null) return null;
  for (const [key, field] of Object.entries(value)) {
    const place = Array.isArray(value) ? `${name}[${key}]` : `${name}${name && '.'}${key}`;
    const found = key.isWellFormed() ? halfIn(field, place) : `${name}[${JSON.stringify(key)}]`; // as an escape
    if (found !== null) return found;
  }
  return null;
}

/** A request as JSON, as servers take it. Raises CodecError if it cannot be sent. */
export function encodeRequest(/** @type {object} */ request) {
  const encoded = JSON.stringify(request);
  // No server takes one: the request would be refused without saying whose it was.
  if (encoded.includes('\\ud') && HALF.test(encoded)) {
    throw new CodecError('bad_message', `${halfIn(request) ?? 'it'} is no text: it has half a character (a lone surrogate)`);
  }
  return encoded;
}

/**
 * A message to the server as text. Raises CodecError if it cannot be sent.
 * @param {import('./messages.js').ClientMessage} message
 */
export function encodeClient(message) {
  const encoded = encodeRequest(message);
  // JavaScript counts UTF-16 units, the server bytes: UTF-8 needs three bytes for a unit at most.
  if (encoded.length * 3 > MAX_TEXT && new TextEncoder().encode(encoded).length > MAX_TEXT) {
    throw new CodecError('frame_too_large', 'the project is larger than 2 MiB');
  }
  return encoded;
}
