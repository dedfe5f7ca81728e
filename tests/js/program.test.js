// The client's own sessions and programs, over a model of the server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { utf8 } from '../../static/core/bytes.js';
import { Session } from '../../clients/javascript/session.js';
import { pauses } from './answers.js';
import { FakeServer } from './server.js';
import { World } from './world.js';

const MAIN = { entry: 'main.py', files: { 'main.py': '1' } };

async function opened(options, wanted = {}) {
  const server = new FakeServer(options);
  const world = new World(server);
  const opening = Session.opened(world, 'http://server/', { language: 'any', ...wanted });
  world.settle();
  return { server, world, session: await opening };
}

/** All output of a program, while the world goes on. */
async function printed(program, world) {
  let text = '';
  const read = (async () => { for await (const piece of program) text += piece.text; })();
  const going = setInterval(() => world.settle());
  await read.finally(() => clearInterval(going));
  return text;
}

test('a session that is over takes no programs', async () => {
  const { session, world } = await opened();
  const before = session.run(MAIN);
  session.close();
  await assert.rejects(printed(before, world), { name: 'Refused', code: 'no_session' });
  for (const begin of [() => session.run(MAIN), () => session.shell()]) assert.throws(begin, { name: 'Refused', message: 'the session is over', code: 'no_session' });
});

test('a session that is over takes no calls', async () => {
  const { session, world } = await opened();
  const program = session.run(MAIN);
  world.settle();
  session.close();
  const calls = [() => session.extend(), () => program.endInput(), () => program.signal('INT'), () => program.resize(80, 24)];
  for (const call of calls) assert.throws(call, { name: 'Refused', message: 'the session is over', code: 'no_session' });
  await assert.rejects(program.send(''), { name: 'Refused', code: 'no_session' });
  program.kill(); // what is to be is
  const ended = await opened();
  ended.server.say({ type: 'closed', reason: 'idle_timeout' }, ended.world.socket);
  ended.world.settle();
  assert.throws(() => ended.session.extend(), { message: 'the session was ended: idle_timeout', code: 'no_session' });
});

test('the text has all of the output, also half a character at its end', async () => {
  for (const [bytes, text] of [[[0xf0, 0x9f], '\ufffd'], [[0x61, 0xe2, 0x82], 'a\ufffd'], [[0xef, 0xbb, 0xbf, 0x61], '\ufeffa'], [[0xc3, 0xa4], 'ä'], [[], '']]) {
    const { session, world } = await opened({ outputOf: () => Uint8Array.from(bytes), exits: () => true });
    assert.equal(await printed(session.run(MAIN), world), text);
  }
});

test('half a character is refused before anything is sent', async () => {
  const { session, server, world } = await opened();
  const half = '\udcff';
  for (const [wrong, where] of [
    [{ args: ['a', `${half}b`] }, 'args[1]'], [{ env: { A: half } }, 'env.A'], [{ env: { [half]: 'a' } }, 'env["\\udcff"]'], [{ entry: half }, 'entry'],
    [{ files: { 'main.py': `#${half}` } }, 'main.py'], [{ files: { [half]: '' } }, 'files[0].path'],
  ]) {
    assert.throws(() => session.run({ ...MAIN, ...wrong }), { name: 'Refused', code: 'bad_message', message: `${where} is no text: it has half a character (a lone surrogate)` });
  }
  world.settle();
  assert.ok(!server.messages.some(({ type }) => type === 'run'));
  const fresh = new World(new FakeServer());
  await assert.rejects(Session.opened(fresh, 'http://server/', { language: 'any', files: { [half]: '' } }), { name: 'Refused', code: 'bad_message' });
  assert.equal(fresh.sockets.length, 0);
});

test('what looks like half a character is sent', async () => {
  const { session, server, world } = await opened({ outputOf: () => utf8('done'), exits: () => true });
  const args = ['\\udcff', '\\\\ud8ff', '😀', '"\\ud800"'];
  assert.equal(await printed(session.run({ ...MAIN, args }), world), 'done');
  assert.deepEqual(server.messages.find(({ type }) => type === 'run').args, args);
});

test('a wrong call of a running program is refused by itself, and the program goes on', async () => {
  let over = false;
  const { session, server, world } = await opened({ outputOf: () => utf8('done'), exits: () => over });
  const terminal = { cols: 80, rows: 24 };
  const program = session.run({ ...MAIN, terminal });
  for (const name of ['FOO', 'SIGINT', '', null]) assert.throws(() => program.signal(name), { name: 'Refused', code: 'bad_message', message: /^there is no signal .*; there are INT, TERM, / });
  for (const size of [[1, 24], [80, 1001], [80.5, 24], ['80', '24'], [NaN, 24], []]) assert.throws(() => program.resize(...size), { name: 'Refused', code: 'bad_message' });
  for (const data of [5, {}, null, [1], '\udcff']) await assert.rejects(program.send(data), { name: 'Refused', code: 'bad_message' });
  world.settle();
  program.signal('USR1');
  program.resize(100, 30);
  const sent = program.send('typed');
  world.settle();
  await sent;
  over = true;
  assert.equal(await printed(program, world), 'done');
  const known = server.programs.get(1);
  assert.deepEqual([known.signals, known.size, String.fromCharCode(...known.delivered)], [['USR1'], { cols: 100, rows: 30 }, 'typed']);
  assert.equal(program.exit.reason, 'exited');
  for (const more of ['more', '']) await assert.rejects(program.send(more), { name: 'Refused', code: 'no_channel', message: 'the program has ended, and takes no input' });
  assert.deepEqual([program.signal('INT'), program.kill(), program.endInput(), program.resize(90, 30)], [undefined, undefined, undefined, undefined]);
});

test('the content of a file is a text or bytes', async () => {
  const { session } = await opened();
  for (const content of [5, null, {}, [1]]) assert.throws(() => session.run({ ...MAIN, files: { 'main.py': content } }), { name: 'Refused', message: /^main\.py is neither a text nor bytes/ });
});

test('a place in the queue of a server that is gone is not waited for without end', async (t) => {
  const server = new FakeServer();
  const world = new World(server);
  const waits = [];
  t.mock.method(globalThis, 'setTimeout', (act, ms) => ms > 30_000 && waits.push({ act, ms }));
  server.on_open = (_, socket) => server.say({ type: 'queued', position: 1, ahead: 0, eta_ms: null, deadline_ms: 60_000 }, socket);
  const opening = Session.opened(world, 'http://server/', { language: 'any' });
  world.settle();
  assert.deepEqual(waits, []);
  world.connect = () => { throw new Error('away'); };
  world.socket.drop();
  world.clock.advance(10_000);
  const [wait, ...more] = waits;
  assert.deepEqual([wait.ms, more], [120_000, []]);
  wait.act();
  await assert.rejects(opening, { name: 'Refused', code: 'unreachable' });
});

test('what takes WebSockets and says nothing that a server says is not waited for', async (t) => {
  const server = new FakeServer();
  const world = new World(server);
  const due = [];
  t.mock.method(globalThis, 'setTimeout', (act, ms) => due.push({ act, ms }));
  server.hello = () => {};
  server.say = () => {};
  const opening = Session.opened(world, 'http://server/', { language: 'any' });
  world.settle();
  assert.equal(due[0].ms, 30_000);
  due[0].act();
  await assert.rejects(opening, { name: 'Refused', code: 'unreachable', message: 'no server answers at http://server/', retryable: true });
});

test('files are asked for again while the server is away, in their order, and done once', async (t) => {
  const { session, world } = await opened();
  t.mock.method(globalThis, 'setTimeout', pauses());
  const json = (found, status = 200) => Response.json(found, { status });
  const problem = (code, status, retryable = false) => json({ code, detail: code, retryable }, status);
  const away = [
    () => { throw new TypeError('fetch failed'); }, () => new Response('<html></html>', { status: 502 }), () => new Response('<html></html>', { status: 404 }),
    () => new Response('<html></html>', { headers: { 'Content-Type': 'text/html' } }), () => problem('engine_unavailable', 503, true), () => problem('files_busy', 429, true),
  ];
  let answers = [];
  const asked = [];
  world.api = (path) => new URL(path, 'http://server/');
  let fetching = async (url, { method, body }) => {
    const found = answers.shift()();
    if (found.status === 200 && found.headers.get('Content-Type') === 'application/json') asked.push(`${method} ${body ?? ''}`);
    return found;
  };
  world.fetch = (...request) => fetching(...request);
  const data = () => new Response('data', { headers: { 'Content-Type': 'application/octet-stream' } });
  answers = [...away, () => json({ path: 'a', size: 1 }), ...away, () => json({ path: 'a', size: 1 }), ...away, () => json(null), () => json({}), () => json({ files: [], complete: true }), ...away, () => json({}), data];
  const { files } = session;
  const all = await Promise.all([files.write('a', '1'), files.write('a', '2'), files.list(), files.text('a')]);
  assert.deepEqual([all, answers], [[undefined, undefined, [], 'data'], []]);
  assert.deepEqual(asked.filter((one) => one.startsWith('PUT')), ['PUT 1', 'PUT 2']);
  const listed = (...paths) => () => json({ files: paths.map((path) => ({ path })), complete: true });
  const gone = () => problem('no_file', 404);
  for (const [call, turns, code] of [
    [() => files.remove('a'), [away[0], gone]], [() => files.remove('a'), [gone], 'no_file'], [() => files.remove('a'), [away[4], gone], 'no_file'],
    [() => files.rename('a', 'b'), [away[0], gone, listed('b')]], [() => files.rename('a', 'b'), [away[0], gone, listed('c')], 'no_file'], [() => files.rename('a', 'b'), [gone], 'no_file'],
    [() => files.rename('a', 'b'), [away[1], () => problem('file_exists', 409), listed('a', 'b')], 'file_exists'],
    [() => files.list(), [() => json({ files: [], complete: false })], 'too_many_files'], [() => files.write('a', ''), [() => problem('workspace_full', 507, true)], 'workspace_full'],
  ]) {
    answers = turns;
    if (code) await assert.rejects(call, { name: 'Refused', code });
    else await call();
    assert.deepEqual(answers, []);
  }
  let clock = 0;
  t.mock.method(performance, 'now', () => clock);
  fetching = async () => {
    clock += 1000;
    throw new TypeError('fetch failed');
  };
  await assert.rejects(files.list(), { name: 'Refused', code: 'unreachable', message: /^the server at http:..server. cannot be reached any more/, retryable: true });
  assert.ok(clock >= 120_000);
  fetching = async () => {
    session.close();
    throw new TypeError('fetch failed');
  };
  await assert.rejects(files.write('a', ''), { name: 'Refused', code: 'no_session', message: 'the session is over' });
});

/** The files of a model server's session over HTTP, which are written when `written` has resolved. */
function disk(world, written = Promise.resolve()) {
  const files = [];
  world.api = (path) => new URL(path, 'http://server/');
  world.fetch = async (url, { method, body, signal }) => {
    signal.throwIfAborted();
    await written;
    if (body.length > 16 << 20) return Response.json({ code: 'file_too_large', detail: 'send at most 16 MiB', retryable: false }, { status: 413 });
    files.push(`${method} ${decodeURIComponent(url.pathname.split('/').slice(5).join('/'))} ${body.length}`);
    return new Response(null, { status: 204 });
  };
  return files;
}

test('what a message has no room for is uploaded before a program begins, and its input waits', async () => {
  const { session, server, world } = await opened({ outputOf: () => utf8('done'), exits: ({ eof }) => eof !== null });
  let write;
  const files = disk(world, new Promise((resolve) => { write = resolve; }));
  const program = session.run({ entry: 'main.py', files: { 'main.py': '1', 'big/a': 'x'.repeat(3e6), b: new Uint8Array(2e6) } });
  await program.send('typed');
  program.endInput();
  world.settle();
  assert.ok(!server.programs.size);
  write();
  assert.equal(await printed(program, world), 'done');
  assert.deepEqual(files, ['PUT big/a 3000000', 'PUT b 2000000']);
  const { messages } = server;
  assert.deepEqual(messages.find(({ type }) => type === 'run').files, [{ path: 'main.py', content: '1' }]);
  assert.deepEqual([String.fromCharCode(...server.programs.get(1).delivered), server.programs.get(1).eof], ['typed', 5]);
});

test('an upload that is refused refuses the program, and the session goes on', async () => {
  const { session, server, world } = await opened({ outputOf: () => utf8('done'), exits: () => true });
  disk(world);
  const program = session.run({ entry: 'main.py', files: { 'main.py': '1', big: 'x'.repeat(17 << 20) } });
  await assert.rejects(printed(program, world), { name: 'Refused', code: 'file_too_large', message: 'send at most 16 MiB', retryable: false });
  assert.ok(!server.programs.size);
  assert.equal(await printed(session.run(MAIN), world), 'done');
});

test('what the first message has no room for is there when the session is', async () => {
  for (const [size, code] of [[100_000, undefined], [17 << 20, 'file_too_large']]) {
    const server = new FakeServer();
    const world = new World(server);
    const files = disk(world);
    const opening = Session.opened(world, 'http://server/', { language: 'any', files: { a: '1', big: 'x'.repeat(size) } });
    world.settle();
    if (code) await assert.rejects(opening, { name: 'Refused', code });
    else {
      await opening;
      assert.deepEqual(files, ['PUT big 100000']);
    }
    assert.deepEqual(server.opens[0].files, [{ path: 'a', content: '1' }]);
  }
});

test('refusals of files are refusals', async () => {
  const { session, world } = await opened();
  disk(world);
  const { files } = session;
  for (const [asked, code] of [
    [() => files.write('../a', ''), 'bad_path'], [() => files.read(''), 'bad_path'], [() => files.remove('a//b'), 'bad_path'], [() => files.rename('./a', 'b'), 'bad_path'],
    [() => files.write('a', 'x'.repeat(17 << 20)), 'file_too_large'], [() => files.write('a', 5), 'bad_message'], [() => files.write('a', '\ud800'), 'bad_message'],
  ]) await assert.rejects(asked, { name: 'Refused', code });
  session.close();
  await assert.rejects(files.write('a', ''), { name: 'Refused', code: 'no_session' });
});
