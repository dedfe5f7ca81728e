import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from '../../clients/javascript/client.js';
import { ONE, HEALTH, answer, failed, html, pauses } from './answers.js';
import { FakeServer } from './server.js';
import { World } from './world.js';

const DRAINING = { title: 'Draining', detail: 'the server takes no new sessions', code: 'draining', retryable: true };

/** A server that answers alike for ever, and a clock on which each look is a minute later. */
function always(t, status, text) {
  let minutes = 0;
  t.mock.method(performance, 'now', () => 60_000 * minutes++);
  t.mock.method(globalThis, 'setTimeout', pauses());
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
  for (const lost of [() => { throw new TypeError('fetch failed'); }, () => new Response('<html></html>', { status: 504 })]) {
    let clock = 0;
    let left = 5;
    t.mock.method(performance, 'now', () => clock);
    t.mock.method(globalThis, 'setTimeout', pauses());
    t.mock.method(globalThis, 'fetch', async (url) => {
      if (url.pathname === '/api/health') return answer(HEALTH);
      clock += 300_000;
      return left-- ? lost() : answer(JSON.stringify(ONE));
    });
    assert.deepEqual(await new Client('http://localhost').run({ language: 'python', source: '1' }), ONE);
    t.mock.restoreAll();
  }
});

const STARTS = { title: 'Not ready', detail: 'python is being prepared', code: 'language_not_ready', retryable: true };

test('a server that has just started is asked again, for a short time', async (t) => {
  for (const what of ['run', 'batch']) {
    let left = 3;
    let clock = 0;
    t.mock.method(performance, 'now', () => clock);
    t.mock.method(globalThis, 'setTimeout', pauses((ms) => { clock += ms; }));
    t.mock.method(globalThis, 'fetch', async (url) => {
      if (left-- > 0) return new Response(JSON.stringify(STARTS), { status: 503 });
      if (what === 'batch' && `${url}`.endsWith('api/batch')) return new Response('event: done\ndata: {"id": "one"}\n\n', { headers: { 'Content-Type': 'text/event-stream' } });
      return answer(JSON.stringify({ ...ONE, cases: [] }));
    });
    assert.equal((await new Client('http://localhost')[what]({ language: 'python', source: '1', cases: [] })).id, 'one');
    left = Infinity;
    await assert.rejects(new Client('http://localhost')[what]({ language: 'python', source: '1', cases: [] }), { message: STARTS.detail, code: STARTS.code });
    assert.ok(clock < 20_000, `${clock}`);
    t.mock.restoreAll();
  }
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
