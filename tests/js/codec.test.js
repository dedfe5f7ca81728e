import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  CodecError, HEADER, MAX_PAYLOAD, MAX_TEXT, decodeInput, decodeOutput, decodeServer, encodeClient, encodeInput, encodeOutput,
} from '../../static/core/codec.js';

const vectors = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8'));
const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (data) => Buffer.from(data).toString('hex');
const fails = (act, code) => assert.throws(act, (error) => error instanceof CodecError && error.code === code);

for (const vector of vectors('binary')) {
  test(`binary: ${vector.name}`, () => {
    const decode = vector.kind === 'input' ? decodeInput : decodeOutput;
    if (vector.error) return fails(() => decode(bytes(vector.hex)), vector.error);
    const { payload, ...rest } = decode(bytes(vector.hex));
    assert.deepEqual({ ...rest, payload_hex: hex(payload) }, vector.value);
    const { channel, stream, offset } = rest;
    const again = vector.kind === 'input' ? encodeInput(channel, offset, payload) : encodeOutput(channel, stream, offset, payload);
    assert.equal(hex(again), vector.hex);
    return undefined;
  });
}

for (const vector of vectors('server_text')) {
  test(`server text: ${vector.name}`, () => {
    if (vector.error) return fails(() => decodeServer(vector.text), vector.error);
    assert.deepEqual(decodeServer(vector.text), vector.value);
    return undefined;
  });
}

for (const vector of vectors('client_text').filter(({ value, decode_only }) => value && !decode_only)) {
  test(`client text: ${vector.name}`, () => assert.equal(encodeClient(vector.value), vector.text));
}

test('the bounds of sizes hold', () => {
  assert.equal(encodeInput(1, 0, new Uint8Array(MAX_PAYLOAD)).length, HEADER + MAX_PAYLOAD);
  fails(() => encodeInput(1, 0, new Uint8Array(MAX_PAYLOAD + 1)), 'frame_too_large');
  fails(() => decodeOutput(new Uint8Array(HEADER + MAX_PAYLOAD + 1)), 'frame_too_large');
  fails(() => decodeServer(' '.repeat(MAX_TEXT + 1)), 'frame_too_large');
  fails(() => encodeClient({ type: 'run', text: 'ü'.repeat(MAX_TEXT / 2) }), 'frame_too_large');
  assert.ok(encodeClient({ type: 'run', text: 'u'.repeat(MAX_TEXT - 64) }));
});

test('a channel or an offset that does not exist cannot be encoded', () => {
  fails(() => encodeInput(65_536, 0, new Uint8Array()), 'bad_frame');
  fails(() => encodeInput(-1, 0, new Uint8Array()), 'bad_frame');
  fails(() => encodeInput(1, 2 ** 53, new Uint8Array()), 'bad_frame');
  fails(() => encodeInput(1, Number.MAX_SAFE_INTEGER, new Uint8Array(1)), 'bad_frame');
  fails(() => encodeInput(1, 1.5, new Uint8Array()), 'bad_frame');
});

test('a frame is read where it lies in a larger buffer', () => {
  const inner = encodeOutput(9, 2, 77, Uint8Array.of(1, 2, 3));
  const outer = new Uint8Array(inner.length + 10);
  outer.set(inner, 5);
  const frame = decodeOutput(outer.subarray(5, 5 + inner.length));
  assert.deepEqual({ ...frame, payload: [...frame.payload] }, { channel: 9, stream: 2, offset: 77, payload: [1, 2, 3] });
});
