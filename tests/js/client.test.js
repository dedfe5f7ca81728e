import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../clients/javascript/client.js';

const DRAINING = { title: 'Draining', detail: 'the server takes no new sessions', code: 'draining', retryable: true };

/** A server that answers alike for ever, and a clock on which each look is a minute later. */
function always(t, status, text) {
  let minutes = 0;
  t.mock.method(performance, 'now', () => 60_000 * minutes++);
  t.mock.method(globalThis, 'setTimeout', (act) => queueMicrotask(act));
  return t.mock.method(globalThis, 'fetch', async () => new Response(text, { status }));
}

test('a server that takes no new sessions is asked again, and its own reason is told in the end', async (t) => {
  const asked = always(t, 503, JSON.stringify(DRAINING));
  await assert.rejects(new Client('http://localhost').run({ language: 'python', source: '1' }), { message: DRAINING.detail, code: 'draining', retryable: true });
  assert.ok(asked.mock.callCount() > 1);
  const keys = asked.mock.calls.map((call) => call.arguments[1].headers['Idempotency-Key']);
  assert.equal(new Set(keys).size, 1);
});

test('a proxy without a server behind it is a server that does not answer', async (t) => {
  always(t, 502, '<html>Bad Gateway</html>');
  await assert.rejects(new Client('http://localhost').run({ language: 'python', source: '1' }), { code: 'unreachable', retryable: true });
});

test('an answer that takes longer than a request may is waited for', async (t) => {
  let clock = 0;
  let left = 5;
  t.mock.method(performance, 'now', () => clock);
  t.mock.method(globalThis, 'setTimeout', (act) => queueMicrotask(act));
  t.mock.method(globalThis, 'fetch', async () => {
    clock += 300_000;
    if (left--) throw new TypeError('fetch failed');
    return new Response('{"id": "one"}');
  });
  assert.deepEqual(await new Client('http://localhost').run({ language: 'python', source: '1' }), { id: 'one' });
});

const STARTS = { title: 'Not ready', detail: 'python is being prepared', code: 'language_not_ready', retryable: true };

test('a server that has just started is asked again, for a short time', async (t) => {
  for (const what of ['run', 'batch']) {
    let left = 3;
    let clock = 0;
    t.mock.method(performance, 'now', () => clock);
    t.mock.method(globalThis, 'setTimeout', (act) => queueMicrotask(() => { clock += 500; act(); }));
    t.mock.method(globalThis, 'fetch', async (url) => {
      if (left-- > 0) return new Response(JSON.stringify(STARTS), { status: 503 });
      if (what === 'batch' && `${url}`.endsWith('api/batch')) return new Response('event: done\ndata: {"id": "one"}\n\n');
      return new Response('{"id": "one"}');
    });
    assert.deepEqual(await new Client('http://localhost')[what]({ language: 'python', source: '1', cases: [] }), { id: 'one' });
    left = Infinity;
    await assert.rejects(new Client('http://localhost')[what]({ language: 'python', source: '1', cases: [] }), { message: STARTS.detail, code: STARTS.code });
    assert.ok(clock < 20_000, `${clock}`);
    t.mock.restoreAll();
  }
});
