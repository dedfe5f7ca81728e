import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../clients/javascript/client.js';
import { FakeServer } from './server.js';
import { World } from './world.js';

const JSON_TYPE = { 'Content-Type': 'application/json; charset=utf-8' };
const answer = (text) => new Response(text, { headers: JSON_TYPE });
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
    return answer('{"id": "one"}');
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
      if (what === 'batch' && `${url}`.endsWith('api/batch')) return new Response('event: done\ndata: {"id": "one"}\n\n', { headers: { 'Content-Type': 'text/event-stream' } });
      return answer('{"id": "one"}');
    });
    assert.deepEqual(await new Client('http://localhost')[what]({ language: 'python', source: '1', cases: [] }), { id: 'one' });
    left = Infinity;
    await assert.rejects(new Client('http://localhost')[what]({ language: 'python', source: '1', cases: [] }), { message: STARTS.detail, code: STARTS.code });
    assert.ok(clock < 20_000, `${clock}`);
    t.mock.restoreAll();
  }
});

/** A clock that moves with the pauses between attempts, and answers by turns; the last one for ever. */
function turns(t, ...answers) {
  const clock = { ms: 0, asked: 0 };
  t.mock.method(performance, 'now', () => clock.ms);
  t.mock.method(globalThis, 'setTimeout', (act, ms) => queueMicrotask(() => { clock.ms += ms; act(); }));
  t.mock.method(globalThis, 'fetch', async () => answers[Math.min(clock.asked++, answers.length - 1)]());
  return clock;
}

const failed = (code) => () => { throw new TypeError('fetch failed', { cause: Object.assign(new Error(`connect ${code}`), { code }) }); };
const html = (status) => () => new Response('<html></html>', { status, headers: { 'Content-Type': 'text/html' } });
const REQUEST = { language: 'python', source: '1', cases: [] };
const WAYS = [(client) => client.languages(), (client) => client.run(REQUEST), (client) => client.batch(REQUEST)];

test('where no CodeRunner has answered yet, each request asks for three seconds', async (t) => {
  for (const first of [failed('ECONNREFUSED'), failed('ECONNRESET'), failed(undefined), html(502), html(503), html(504), html(200)]) {
    for (const ask of WAYS) {
      const clock = turns(t, first);
      await assert.rejects(ask(new Client('http://localhost')), { name: 'Refused', code: 'unreachable', retryable: true });
      assert.ok(clock.asked > 1 && clock.ms >= 3000 && clock.ms < 6000, `${clock.asked} ${clock.ms}`);
      t.mock.restoreAll();
    }
  }
});

test('where none can answer, no request is repeated', async (t) => {
  for (const first of [failed('ENOTFOUND'), failed('DEPTH_ZERO_SELF_SIGNED_CERT'), html(404), html(403)]) {
    for (const ask of WAYS) {
      const clock = turns(t, first);
      await assert.rejects(ask(new Client('http://localhost')), { name: 'Refused', code: 'unreachable', retryable: false });
      assert.equal(clock.asked, 1);
      t.mock.restoreAll();
    }
  }
});

test('a server that has answered before is waited for, but not to list its languages', async (t) => {
  const away = Array.from({ length: 60 }, (_, at) => [failed('ECONNREFUSED'), html(502), html(200)][at % 3]);
  const clock = turns(t, () => answer('{"languages": []}'), ...away, () => answer('{"id": "one"}'));
  const client = new Client('http://localhost');
  assert.deepEqual(await client.languages(), []);
  assert.deepEqual(await client.run(REQUEST), { id: 'one' });
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

test('what can be no address, no key or no request is refused', async () => {
  for (const url of ['', 'localhost', '127.0.0.1:3000', 'localhost:3000', 'ftp://localhost', 'http://localhost:99999', null, 5, 'http://me:secret@localhost']) {
    assert.throws(() => new Client(url), { name: 'Refused', code: 'unreachable', retryable: false });
  }
  for (const key of ['a\nb', 'ключ', 'a b']) assert.throws(() => new Client('http://localhost', { key }), { name: 'Refused', code: 'unauthenticated' });
  const circular = { language: 'python' };
  circular.args = circular;
  for (const wrong of [circular, { language: 'python', limits: { wall_ms: 5n } }, { language: 'python', source: '\ud800' }, { language: 'python', files: { a: 5 } }]) {
    for (const way of ['run', 'batch']) await assert.rejects(new Client('http://localhost')[way](wrong), { name: 'Refused', code: 'bad_message' });
  }
});

/** Sockets of the model `server` in place of the surroundings' own. */
function wired(t, server) {
  const world = new World(server);
  const own = globalThis.WebSocket;
  globalThis.WebSocket = function connect(url) { return world.connect(new URL(url).pathname.slice(1)); };
  const going = setInterval(() => world.settle());
  t.after(() => {
    clearInterval(going);
    globalThis.WebSocket = own;
  });
  return world;
}

test('a session is asked for again while the server takes no new ones, or has just started', async (t) => {
  for (const told of [DRAINING, STARTS]) {
    const server = new FakeServer();
    wired(t, server);
    const open = server.on_open;
    let left = 2;
    server.on_open = (message, socket) => {
      if (left-- > 0) server.say({ type: 'error', code: told.code, message: told.detail, retryable: true, retry_after_ms: 1000 }, socket);
      else open.call(server, message, socket);
    };
    (await new Client('http://localhost').open({ language: 'any' })).close();
    assert.equal(left, -1);
  }
});

test('any other refusal of a session is told at once, also one that may be gone later', async (t) => {
  const server = new FakeServer();
  wired(t, server);
  server.on_open = (message, socket) => server.say({ type: 'error', code: 'queue_full', message: 'full', retryable: true, retry_after_ms: 1000 }, socket);
  await assert.rejects(new Client('http://localhost').open({ language: 'any' }), { name: 'Refused', code: 'queue_full', message: 'full', retryable: true });
});

test('where no WebSocket can be opened, the reason is told', async (t) => {
  const server = new FakeServer();
  wired(t, server);
  server.accept = (socket) => socket.drop(1006);
  const real = performance.now.bind(performance);
  let found;
  t.mock.method(performance, 'now', () => 5 * real());
  t.mock.method(globalThis, 'fetch', async () => found());
  for (const [answers, why] of [
    [html(404), /^no CodeRunner answers at .* 404$/], [html(502), /^no CodeRunner answers at .* 502$/], [failed('ECONNREFUSED'), /^no server answers at .*ECONNREFUSED$/],
    [failed('ENOTFOUND'), /ENOTFOUND/], [() => answer('{"languages": []}'), /no WebSocket gets through/],
  ]) {
    found = answers;
    await assert.rejects(new Client('http://localhost').open({ language: 'any' }), { name: 'Refused', code: 'unreachable', message: why });
  }
});
