// How long requests ask again, and whatever answers in place of a server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../clients/javascript/client.js';
import { HEALTH, ONE, OTHERS, answer, events, failed, html, pauses, turns } from './answers.js';

const REQUEST = { language: 'python', source: '1', cases: [] };
const WAYS = [(client) => client.languages(), (client) => client.run(REQUEST), (client) => client.batch(REQUEST)];


test('where no CodeRunner has answered yet, each request asks for three seconds', async (t) => {
  for (const first of [failed('ECONNREFUSED'), failed('ECONNRESET'), failed(undefined), ...OTHERS]) {
    for (const ask of WAYS) {
      const clock = turns(t, first);
      await assert.rejects(ask(new Client('http://localhost')), { name: 'Refused', code: 'unreachable', message: /^no (server|CodeRunner) answers at / });
      assert.ok(clock.asked > 1 && clock.ms >= 3000 && clock.ms < 6000, `${clock.asked} ${clock.ms}`);
      t.mock.restoreAll();
    }
  }
});

test('where none can answer, no request is repeated', async (t) => {
  for (const first of [failed('ENOTFOUND'), failed('DEPTH_ZERO_SELF_SIGNED_CERT')]) {
    for (const ask of WAYS) {
      const clock = turns(t, first);
      await assert.rejects(ask(new Client('http://localhost')), { name: 'Refused', code: 'unreachable', retryable: false });
      assert.equal(clock.asked, 1);
      t.mock.restoreAll();
    }
  }
});

test('whatever answers in place of a server that has answered before is waited out', async (t) => {
  const clock = turns(t, () => answer('{"languages": []}'), ...OTHERS, () => answer(JSON.stringify(ONE)), ...OTHERS, events('event: done\ndata: {"id": "a/b"}\n\n'), ...OTHERS, () => answer('{"id": "a/b", "cases": []}'));
  const client = new Client('http://localhost');
  assert.deepEqual(await client.languages(), []);
  assert.deepEqual(await client.run(REQUEST), ONE);
  assert.deepEqual(await client.batch(REQUEST), { id: 'a/b', cases: [] });
  assert.equal(clock.asked, 3 * OTHERS.length + 4);
});

test('a server that refuses many at one time is asked again for what may have begun', async (t) => {
  const problem = (code) => () => new Response(JSON.stringify({ detail: code, code, retryable: true }), { status: 429 });
  turns(t, problem('rate_limited'));
  await assert.rejects(new Client('http://localhost').run(REQUEST), { code: 'rate_limited' });
  t.mock.restoreAll();
  turns(t, failed('ECONNRESET'), problem('rate_limited'), problem('rate_limited'), () => answer(JSON.stringify(ONE)));
  assert.deepEqual(await new Client('http://localhost').run(REQUEST), ONE);
});

/** Deadlines of requests, the first of which passes at each `next`. */
function deadlines(t) {
  const clock = { ms: 0 };
  let timers = [];
  t.mock.method(performance, 'now', () => clock.ms);
  t.mock.method(globalThis, 'clearTimeout', (timer) => { timers = timers.filter((one) => one !== timer); });
  t.mock.method(globalThis, 'setTimeout', (act, ms) => {
    const timer = { act, ms };
    if (ms > 500) timers.push(timer);
    else pauses((passed) => { clock.ms += passed; })(act, ms);
    return timer;
  });
  clock.next = () => {
    const { act, ms } = timers.shift();
    clock.ms += ms;
    act();
  };
  return clock;
}

const never = (clock, signal) => new Promise((_, reject) => {
  signal.addEventListener('abort', () => reject(signal.reason));
  queueMicrotask(clock.next);
});

test('a server that takes a request and says nothing is noticed', async (t) => {
  for (const [at, ms] of [30_000, 60_000, 60_000].entries()) {
    const clock = deadlines(t);
    t.mock.method(globalThis, 'fetch', (_, { signal }) => never(clock, signal));
    await assert.rejects(WAYS[at](new Client('http://localhost')), { name: 'Refused', code: 'unreachable', message: /: nothing has come for \d+ seconds$/, retryable: true });
    assert.ok(clock.ms >= ms && clock.ms < ms + 31_000, `${clock.ms}`); // and whether it is there is asked once
    t.mock.restoreAll();
  }
});

test('a program that is silent for long is waited for, and a server that was there for two minutes', async (t) => {
  for (const there of [true, false]) {
    const clock = deadlines(t);
    let left = 20;
    t.mock.method(globalThis, 'fetch', async ({ pathname }, { signal }) => {
      if (pathname === '/api/languages') return answer('{"languages": []}');
      if (pathname === '/api/health' && there) return answer(HEALTH);
      return left-- > 0 ? never(clock, signal) : answer(JSON.stringify(ONE));
    });
    const client = new Client('http://localhost');
    await client.languages();
    if (there) assert.deepEqual(await client.run(REQUEST), ONE);
    else await assert.rejects(client.run(REQUEST), { code: 'unreachable', message: /cannot be reached any more: nothing has come/, retryable: true });
    assert.equal(left >= 0, !there);
    t.mock.restoreAll();
  }
});

test('an answer of which nothing more comes is noticed', async (t) => {
  const clock = deadlines(t);
  let asked = 0;
  t.mock.method(globalThis, 'fetch', async (_, { signal }) => {
    if (asked++) return new Response('{"detail": "over", "code": "bad_message"}', { status: 400 });
    const pieces = ['event: batch\n', 'data: {"id": "one"}\n\n'];
    const more = (body) => (pieces.length ? body.enqueue(new TextEncoder().encode(pieces.shift())) : new Promise(() => { setImmediate(clock.next); }));
    return new Response(new ReadableStream({
      start(body) { signal.addEventListener('abort', () => body.error(signal.reason)); },
      pull: more,
    }), { headers: { 'Content-Type': 'text/event-stream' } });
  });
  await assert.rejects(new Client('http://localhost').batch(REQUEST), { code: 'bad_message', message: 'over' });
  assert.equal(asked, 2);
});

test('an answer without an end is given up', async (t) => {
  let pieces = 0;
  turns(t, () => new Response(new ReadableStream({
    pull(body) {
      pieces += 1;
      body.enqueue(new Uint8Array(1 << 20));
    },
  }), { status: 500 }));
  await assert.rejects(new Client('http://localhost').run(REQUEST), { code: 'unreachable', message: /too long/ });
  assert.ok(pieces < 100, `${pieces}`);
});

test('a server that has answered before is waited for, but not to list its languages', async (t) => {
  const away = Array.from({ length: 60 }, (_, at) => [failed('ECONNREFUSED'), html(502), html(200)][at % 3]);
  const clock = turns(t, () => answer('{"languages": []}'), ...away, () => answer(JSON.stringify(ONE)));
  const client = new Client('http://localhost');
  assert.deepEqual(await client.languages(), []);
  assert.deepEqual(await client.run(REQUEST), ONE);
  assert.ok(clock.ms > 20_000);
  clock.asked = 1;
  await assert.rejects(client.languages(), { code: 'unreachable', retryable: true });
});

test('a batch whose events end each time, and bring nothing new, is given up', async (t) => {
  const cut = () => new Response('event: case\ndata: {"event": "case", "index": 0}\n\n', { headers: { 'Content-Type': 'text/event-stream' } });
  const clock = turns(t, cut);
  await assert.rejects(new Client('http://localhost').batch(REQUEST), { code: 'unreachable' });
  assert.ok(clock.ms >= 120_000);
});
