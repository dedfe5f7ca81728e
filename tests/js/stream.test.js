// A stream of events, however its bytes arrive.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventsOf } from '../../static/core/stream.js';

const TEXT = 'retry: 50\n\nevent: tiles\ndata: {"a":"ü"}\n\n:\n\ndata: one\ndata: two\n\nevent: cut\ndata: off';

const body = (pieces) => new ReadableStream({
  start(control) {
    for (const piece of pieces) control.enqueue(piece);
    control.close();
  },
});

async function read(pieces) {
  const found = [];
  for await (const event of eventsOf(body(pieces))) found.push(event);
  return found;
}

test('events are read from pieces of any length; what is cut off is left out', async () => {
  const bytes = new TextEncoder().encode(TEXT);
  const wanted = [{ event: 'tiles', data: '{"a":"ü"}' }, { event: 'message', data: 'one\ntwo' }];
  for (const length of [1, 2, 3, 7, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / length) }, (_, at) => bytes.slice(at * length, (at + 1) * length));
    assert.deepEqual(await read(pieces), wanted, `${length}`);
  }
});

test('an event without an end is not kept for ever', async () => {
  await assert.rejects(read(Array(5).fill(new TextEncoder().encode('x'.repeat(1024 * 1024)))), RangeError);
});

test('who reads no further closes the stream', async () => {
  let cancelled = false;
  const endless = new ReadableStream({
    pull: (control) => control.enqueue(new TextEncoder().encode('data: x\n\n')),
    cancel: () => { cancelled = true; },
  });
  for await (const { data } of eventsOf(endless)) {
    assert.equal(data, 'x');
    break;
  }
  assert.ok(cancelled);
});
