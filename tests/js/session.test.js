import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBase64, utf8 } from '../../static/core/bytes.js';
import { Session } from '../../static/core/session.js';
import { FakeServer } from './server.js';
import { World, chance } from './world.js';

const pattern = (length, seed = 7) => Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8) * 17 + seed) & 0xff);
const same = (got, wanted) => assert.equal(Buffer.compare(Buffer.from(got), Buffer.from(wanted)), 0, `${got.length} bytes, not the ${wanted.length} wanted`);

/** A page: a session whose channels are drawn at once (or when `draw` says so). */
class Page {
  screens = new Map();
  gaps = [];
  exits = [];
  errors = [];
  faults = [];
  overs = [];

  constructor(world, { client, draw = (done) => done() } = {}) {
    this.draw = draw;
    this.session = new Session(world, { client });
    this.session.on('channel', (channel) => this.show(channel));
    this.session.on('error', (error) => this.errors.push(error));
    this.session.on('fault', (fault) => this.faults.push(fault));
    this.session.on('over', ({ reason }) => this.overs.push(reason));
  }

  show(channel) {
    const screen = [];
    this.screens.set(channel, screen);
    channel.on('output', ({ payload, offset }) => {
      screen.push(...payload);
      this.draw(() => channel.consume(offset + payload.length));
    });
    channel.on('gap', (gap) => {
      this.gaps.push(gap);
      channel.consume(gap.to);
    });
    channel.on('exit', (exit) => {
      this.exits.push(exit);
      this.draw(() => channel.consumeExit());
    });
    return channel;
  }

  run(request = {}) {
    return this.show(this.session.run({ mode: 'tty', cols: 80, rows: 24, ...request }));
  }
}

function started(options, page) {
  const server = new FakeServer(options);
  const world = new World(server);
  const tab = new Page(world, page);
  tab.session.begin({ language: 'any' });
  return { server, world, tab, session: tab.session };
}

test('a run travels behind open, its output is drawn and acked, its end is acked', () => {
  const output = pattern(100_000);
  const { server, world, tab } = started({ outputOf: () => output, exits: () => true });
  const channel = tab.run({ entry: 'main' });
  world.settle();
  assert.deepEqual(server.messages.slice(0, 2).map(({ type }) => type), ['open', 'run']);
  same(tab.screens.get(channel), output);
  const program = server.programs.get(channel.id);
  assert.equal(program.acked, output.length);
  assert.ok(program.exitAcked);
  assert.equal(channel.phase, 'ended');
  assert.equal(tab.exits[0].reason, 'exited');
  const acks = server.messages.filter(({ type }) => type === 'ack');
  assert.ok(acks.length >= 2 && acks.length <= 5, `${acks.length} acks for 100 kB`);
});

test('a session is opened in the room that was chosen, and otherwise in none that is named', () => {
  for (const room of [undefined, 'algebra']) {
    const { world, server } = started();
    const session = new Session(world);
    session.begin({ language: 'bash', room });
    world.settle();
    assert.equal(server.messages.findLast(({ type }) => type === 'open').room, room);
  }
});

test('files too large for what may come before opened follow it, each once', () => {
  const server = new FakeServer({ outputOf: () => pattern(10), exits: () => true });
  server.limits = { first_text_bytes: 65536 };
  const world = new World(server);
  const tab = new Page(world);
  const big = { path: 'big.txt', content: 'x'.repeat(80_000) };
  tab.session.begin({ language: 'any', files: [big, { path: 'main', content: 'old' }] });
  tab.run({ entry: 'main', files: [{ path: 'main', content: 'new' }] });
  world.settle();
  const [open, run] = server.messages.filter(({ type }) => type === 'open' || type === 'run');
  assert.equal(open.files, undefined);
  assert.ok(JSON.stringify(open).length <= 65536);
  assert.deepEqual(run.files.map(({ path, content }) => [path, content.length]), [['big.txt', 80_000], ['main', 3]]);
  assert.equal(run.files[1].content, 'new');
});

test('a request too large to travel behind open waits for opened', () => {
  const server = new FakeServer({ outputOf: () => pattern(10), exits: () => true });
  server.limits = { first_text_bytes: 65536 };
  const order = [];
  const said = server.say.bind(server);
  server.say = (message, socket) => { order.push(message.type); said(message, socket); };
  const got = server.receive.bind(server);
  server.receive = (socket, data) => { if (typeof data === 'string') order.push(JSON.parse(data).type); got(socket, data); };
  const world = new World(server);
  const tab = new Page(world);
  tab.session.begin({ language: 'any' });
  tab.run({ files: [{ path: 'main', content: 'x'.repeat(70_000) }] });
  world.settle();
  assert.ok(order.indexOf('opened') < order.indexOf('run'), order.join(' '));
});

test('nothing is acked that was not drawn, and the window stands still', () => {
  const waiting = [];
  const { server, world, tab } = started({ outputOf: () => pattern(1_000_000) }, { draw: (done) => waiting.push(done) });
  const channel = tab.run();
  world.settle(60_000);
  const program = server.programs.get(channel.id);
  assert.equal(program.acked, 0);
  assert.equal(channel.received, 256 * 1024);
  waiting.splice(0, 10).forEach((done) => done());
  world.settle();
  assert.equal(program.acked, 10_000);
});

test('the last bytes are acked within 100 ms', () => {
  const { server, world, tab } = started({ outputOf: () => pattern(10) });
  const channel = tab.run();
  world.settle(100);
  assert.equal(server.programs.get(channel.id).acked, 10);
});

test('large input goes through the window whole, in order', () => {
  const { server, world, tab } = started({ takes: () => 5_000 });
  const channel = tab.run();
  world.settle();
  const paste = pattern(1_000_000, 3);
  assert.ok(channel.write(paste));
  assert.ok(channel.input.sent - channel.input.acked <= 65_536);
  world.settle();
  same(server.programs.get(channel.id).delivered, paste);
  assert.equal(channel.input.kept, 0);
});

test('input that the server dropped because its window was full is sent again once there is room', () => {
  const { server, world, tab } = started({ takes: () => 0 });
  const channel = tab.run();
  world.settle();
  channel.write(pattern(40_000));
  world.settle();
  const program = server.programs.get(channel.id);
  program.expected = 20_000; // as if the server had less room than the client thought
  program.delivered.length = 20_000;
  server.say({ type: 'error', code: 'input_overflow', message: 'full', retryable: true, channel: channel.id, expected: 20_000 });
  world.settle();
  assert.equal(program.delivered.length, 20_000, 'nothing is sent into a full window');
  server.options.takes = () => 50_000;
  server.flow();
  world.settle();
  same(program.delivered, pattern(40_000));
});

test('end of input is told behind the input, and again after a loss', () => {
  const { server, world, tab } = started({ takes: () => 100_000 });
  const channel = tab.run({ mode: 'pipe', cols: undefined, rows: undefined });
  world.settle();
  channel.write(utf8('last line'));
  assert.ok(channel.end());
  assert.equal(channel.write(utf8('more')), false, 'behind the end there is no input');
  world.socket.drop();
  world.settle(5000);
  const program = server.programs.get(channel.id);
  assert.equal(program.eof, 9);
  same(program.delivered, utf8('last line'));
});

test('end of input on a terminal is byte 04', () => {
  const { server, world, tab } = started();
  const channel = tab.run();
  world.settle();
  channel.end();
  world.settle();
  assert.deepEqual(server.programs.get(channel.id).delivered, [4]);
});

test('a lost run is asked for again, under the same number', () => {
  const { server, world, tab, session } = started({ outputOf: () => pattern(10) });
  world.settle();
  const channel = tab.run();
  world.socket.drop(); // with `run` in flight
  world.settle(5000);
  assert.equal(server.messages.filter(({ type }) => type === 'run').length, 1);
  same(tab.screens.get(channel), pattern(10));
  assert.equal(session.phase, 'open');
});

test('a kill is repeated after a loss, a signal is not', () => {
  const { server, world, tab } = started();
  const channel = tab.run();
  world.settle();
  channel.signal('INT');
  channel.kill();
  world.socket.drop();
  world.settle(5000);
  const program = server.programs.get(channel.id);
  assert.deepEqual(program.signals, []);
  assert.equal(program.killed, 1);
});

test('an end whose ack was lost is acked again', () => {
  const { server, world, tab } = started({ outputOf: () => pattern(10) });
  const channel = tab.run();
  world.settle();
  server.exit(server.programs.get(channel.id));
  server.flow();
  world.socket.deliverToClient();
  world.socket.drop(); // with the ack in flight
  assert.equal(channel.phase, 'ended');
  world.settle(5000);
  assert.ok(server.programs.get(channel.id).exitAcked);
  assert.equal(tab.exits.length, 1);
});

test('a changed size is told once; one that changed while away is told on return', () => {
  const { server, world, tab } = started();
  const channel = tab.run();
  world.settle();
  channel.resize(100, 30);
  channel.resize(100, 30);
  world.settle();
  assert.equal(server.messages.filter(({ type }) => type === 'resize').length, 1);
  world.socket.drop();
  channel.resize(120, 40);
  world.settle(5000);
  assert.deepEqual(server.programs.get(channel.id).size, { cols: 120, rows: 40 });
});

test('a gap is told with exactly the bytes that this page lacks', () => {
  const { server, world, tab } = started({ outputOf: () => pattern(1000) });
  const channel = tab.run();
  world.settle();
  const program = server.programs.get(channel.id);
  world.socket.drop();
  program.output = pattern(5000);
  program.oldest = 3000;
  world.settle(5000);
  assert.deepEqual(tab.gaps, [{ from: 1000, to: 3000, restore: '\u001b[?25l' }]);
  same(tab.screens.get(channel), [...pattern(1000), ...pattern(5000).subarray(3000)]);
  assert.equal(program.acked, 5000);
});

test('output that skips bytes without a gap makes the page attach again', () => {
  const { server, world, tab } = started({ outputOf: () => pattern(1000) });
  const channel = tab.run();
  world.settle();
  server.live.cursors.get(channel.id).sent = 0;
  server.programs.get(channel.id).output = pattern(3000);
  server.live.cursors.get(channel.id).sent = 1500;
  server.flow();
  world.settle(5000);
  assert.equal(tab.faults.length, 1);
  same(tab.screens.get(channel), pattern(3000));
});

test('a reloaded page redraws all, sends what the old one had typed, and is quiet about old queries', () => {
  const { server, world, tab, session } = started({ outputOf: () => pattern(50_000), takes: () => 0 });
  const channel = tab.run();
  world.settle();
  channel.write(utf8('typed before the reload'));
  channel.resize(90, 20);
  const record = JSON.parse(JSON.stringify(session.record()));
  assert.equal(record.channels[channel.id].consumed, 50_000);
  same(fromBase64(record.channels[channel.id].unacked.bytes), utf8('typed before the reload'));
  session.detach();
  server.options.takes = () => 100;

  const page = new Page(world, { client: record.client });
  page.session.resume(record);
  world.settle(5000);
  const [again] = page.screens.keys();
  assert.equal(again.kind, 'run');
  assert.equal(again.quietUntil, 50_000);
  same(page.screens.get(again), pattern(50_000));
  same(server.programs.get(again.id).delivered, utf8('typed before the reload'));
  again.write(utf8('!'));
  world.settle();
  same(server.programs.get(again.id).delivered, utf8('typed before the reload!'));
  assert.equal(page.session.record().next, record.next);
  assert.ok(page.session.run({ mode: 'tty' }).id !== again.id);
});

test('a channel that nobody shows any more is not replayed to the next page', () => {
  const { server, world, tab, session } = started({ outputOf: () => pattern(5000) });
  const old = tab.run();
  const latest = tab.run();
  world.settle();
  old.shown = false;
  const record = JSON.parse(JSON.stringify(session.record()));
  session.detach();
  const page = new Page(world, { client: record.client });
  page.session.resume(record);
  world.settle(5000);
  assert.deepEqual(server.attaches[0].cursors, { [old.id]: 5000 });
  const screens = new Map([...page.screens].map(([channel, screen]) => [channel.id, screen.length]));
  assert.deepEqual([screens.get(old.id), screens.get(latest.id)], [0, 5000]);
});

test('a number that the session has used is replaced by another', () => {
  const { server, world, tab } = started();
  world.settle();
  const channel = tab.run();
  const before = channel.id;
  world.socket.toServer = [];
  server.say({ type: 'error', code: 'channel_used', message: 'used', retryable: false, channel: before });
  world.settle();
  assert.notEqual(channel.id, before);
  assert.ok(server.programs.has(channel.id));
});

test('a refused run is over at once, the session lives on', () => {
  const { server, world, tab, session } = started();
  world.settle();
  const channel = tab.run();
  world.socket.toServer = [];
  server.say({ type: 'error', code: 'bad_path', message: 'bad', retryable: false });
  world.settle();
  assert.equal(channel.phase, 'lost');
  assert.equal(tab.errors[0].code, 'bad_path');
  assert.equal(session.phase, 'open');
});

for (const code of ['quota_exceeded', 'workspace_full', 'no_file', 'agent_lost', 'too_many_files']) {
  test(`a run that is refused by its number is over at once: ${code}`, () => {
    const { server, world, tab, session } = started();
    world.settle();
    const channel = tab.run();
    world.socket.toServer = [];
    server.say({ type: 'error', code, message: 'no', retryable: false, channel: channel.id });
    world.settle();
    assert.equal(channel.phase, 'lost');
    assert.equal(session.phase, 'open');
  });
}

test('where open itself is refused, there is no session to wait for', () => {
  const { server, world, tab, session } = started();
  server.on_open = (_message, socket) => server.say({ type: 'error', code: 'unknown_language', message: 'none', retryable: false }, socket);
  server.on_run = () => {};
  const channel = tab.run();
  world.settle();
  assert.deepEqual([session.phase, channel.phase, tab.errors.length], ['over', 'lost', 1]);
  assert.equal(world.clock.pending, 0);
});

test('a watcher does not type; taking control begins where the other stopped', () => {
  const { server, world, tab, session } = started();
  const channel = tab.run();
  world.settle();
  server.say({ type: 'role', role: 'watch', input_offsets: { [channel.id]: 0 } });
  world.settle();
  assert.equal(channel.write(utf8('x')), false);
  server.programs.get(channel.id).expected = 42;
  server.programs.get(channel.id).inAcked = 42;
  session.take();
  server.say({ type: 'role', role: 'control', input_offsets: { [channel.id]: 42 } });
  world.settle();
  assert.ok(channel.write(utf8('mine')));
  world.settle();
  same(server.programs.get(channel.id).delivered, utf8('mine'));
});

test('the session is over when the server says so, and its programs with it', () => {
  const { server, world, tab, session } = started();
  const channel = tab.run();
  world.settle();
  server.say({ type: 'closed', reason: 'idle_timeout' });
  world.socket.toClient.push({ close: 1000 });
  world.settle();
  assert.deepEqual(tab.overs, ['idle_timeout']);
  assert.equal(channel.phase, 'lost');
  assert.equal(session.record(), null);
  assert.equal(world.clock.pending, 0);
});

for (const [code, phase, again] of [[4404, 'over', false], [4409, 'open', false], [4401, 'open', false], [1009, 'open', false], [1012, 'open', true], [1001, 'open', true], [1011, 'open', true]]) {
  test(`after close ${code} the page ${again ? 'comes back' : 'stays away'}`, () => {
    const { world, session } = started();
    world.settle();
    world.socket.drop(code);
    const sockets = world.sockets.length;
    world.settle(60_000);
    assert.equal(session.phase, phase);
    assert.equal(world.sockets.length > sockets, again);
    assert.equal(session.link.stopped, !again);
  });
}

test('after 4503 it waits as long as the server says, and stops where a retry does not help', () => {
  const { server, world, session } = started();
  world.settle();
  const refuse = (error) => {
    server.say({ type: 'error', code: 'draining', message: 'm', ...error });
    world.socket.toClient.push({ close: 4503 });
    const sockets = world.sockets.length;
    while (world.socket.toClient.length) world.socket.deliverToClient();
    return sockets;
  };
  let sockets = refuse({ retryable: true, retry_after_ms: 5000 });
  world.clock.advance(4999);
  assert.equal(world.sockets.length, sockets);
  world.settle(3000);
  assert.equal(world.sockets.length, sockets + 1);
  sockets = refuse({ retryable: false, retry_after_ms: 5000 });
  world.settle(60_000);
  assert.equal(world.sockets.length, sockets);
  assert.ok(session.link.stopped);
  session.reconnect();
  world.settle(1000);
  assert.ok(session.link.up);
});

test('the first tries come soon, as a restart of the server is over within a second; later waits grow, differ, and are bounded', () => {
  const server = new FakeServer();
  const world = new World(server);
  world.connect = () => { throw new Error('no network'); };
  const tab = new Page(world);
  const waits = [];
  tab.session.on('change', () => tab.session.link.retryInMs !== null && waits.push(tab.session.link.retryInMs));
  tab.session.begin({ language: 'any' });
  for (let tries = 0; tries < 12; tries += 1) world.clock.step();
  assert.ok(Math.max(...waits.slice(0, 4)) <= 250 && waits[4] > 250, waits.join(' '));
  assert.ok(waits.at(-1) >= 7500 && Math.max(...waits) <= 15_000, waits.join(' '));
  assert.ok(new Set(waits.slice(-5)).size > 1, 'no jitter');
});

test('silence is noticed by a ping, and a dead connection is replaced', () => {
  const { server, world, session } = started();
  world.settle();
  world.settle(16_000);
  assert.ok(server.messages.some(({ type }) => type === 'ping'));
  assert.ok(session.rttMs !== null);
  server.receive = () => {}; // it went deaf
  const sockets = world.sockets.length;
  world.clock.advance(30_000);
  assert.ok(world.sockets.length > sockets);
});

test('what is typed and not answered is asked about, told, and sent again over another connection', () => {
  const { server, world, tab, session } = started();
  const channel = tab.run();
  world.settle();
  const first = world.socket;
  first.deliverToServer = () => {}; // its network stalls
  const began = world.now();
  channel.write(pattern(3));
  const told = [];
  session.on('change', () => session.link.silentSince && told.push(world.now() - began));
  world.clock.advance(1500);
  assert.ok(first.toServer.some((data) => typeof data === 'string' && JSON.parse(data).type === 'ping'));
  for (let typed = 0; typed < 100; typed += 1) {
    channel.write(pattern(1)); // typing on does not put it off
    world.clock.advance(80);
  }
  assert.ok(told[0] <= 3000, `told after ${told[0]} ms`);
  world.clock.advance(1000);
  assert.ok(world.sockets.length > 1);
  world.settle(5000);
  same(server.programs.get(channel.id).delivered, [...pattern(3), ...Array(100).fill([...pattern(1)]).flat()]);
  assert.ok(!session.link.silentSince);
});

test('a network that is slow, and not dead, is not given up while bytes leave', () => {
  const { world, tab } = started();
  const channel = tab.run();
  world.settle();
  const { socket } = world;
  socket.deliverToServer = () => {};
  socket.bufferedAmount = 1_000_000;
  channel.write(pattern(3));
  for (let at = 0; at < 12; at += 1) {
    world.clock.advance(3000);
    socket.bufferedAmount -= 50_000;
  }
  assert.equal(world.sockets.length, 1);
  world.clock.advance(20_000);
  assert.ok(world.sockets.length > 1);
});

test('where the server has forgotten what was being opened, it is opened anew; not for ever', () => {
  const { server, world, tab, session } = started();
  tab.run();
  const accept = server.on_open.bind(server);
  const nonces = new Set();
  const refuse = (message, socket) => {
    nonces.add(message.nonce);
    server.say({ type: 'error', code: 'no_session', message: 'm', retryable: false }, socket);
    socket.toClient.push({ close: 4404 });
  };
  server.on_open = (message, socket) => (nonces.size ? accept(message, socket) : refuse(message, socket));
  world.settle(2000);
  assert.equal(session.phase, 'open');
  assert.equal(server.programs.size, 1);
  assert.ok(!nonces.has(session.nonce));
  assert.deepEqual([tab.errors.length, tab.overs.length], [0, 0]);

  const other = started();
  other.server.on_open = (message, socket) => {
    nonces.add(message.nonce);
    other.server.say({ type: 'error', code: 'no_session', message: 'm', retryable: false }, socket);
    socket.toClient.push({ close: 4404 });
  };
  other.world.settle(60_000);
  assert.equal(other.session.phase, 'over');
  assert.ok(other.world.sockets.length < 6);
});

test('files of runs are let go of once the server has them', () => {
  const { world, tab, session } = started();
  const content = 'x'.repeat(10_000);
  for (let run = 0; run < 24; run += 1) {
    tab.run({ files: [{ path: 'main.py', content: content + run }] });
    world.settle();
  }
  assert.equal(session.channels.size, 24);
  const seen = new Set();
  const held = (value) => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return 0;
    seen.add(value);
    return Object.values(value).reduce((sum, one) => sum + (typeof one === 'string' ? one.length : held(one)), 0);
  };
  assert.ok([...session.channels.values()].reduce((sum, channel) => sum + held(channel.request), 0) < 5000);
});

test('the same nonce and the run are sent again where the connection breaks before opened', () => {
  const { server, world, tab } = started();
  tab.run();
  const accept = server.on_open.bind(server);
  let refused = 0;
  server.on_open = (message, socket) => (refused++ ? accept(message, socket) : socket.drop());
  world.settle(5000);
  assert.equal(refused, 2);
  assert.equal(server.programs.size, 1);
});

// --- the promise: nothing lost, nothing doubled, wherever the connection breaks ---------------------------------

function exchange({ seed, frames, cutAt, mode }) {
  const random = chance(seed);
  const output = pattern(frames === 'single' ? 300 : 40_000, seed);
  const typed = pattern(frames === 'single' ? 120 : 90_000, seed + 1);
  const server = new FakeServer({
    outputOf: () => output,
    chunk: () => (frames === 'single' ? 1 : 1 + Math.floor(random() * 4000)),
    takes: () => (frames === 'single' ? 1 : Math.floor(random() * 6000)),
    exits: (program) => program.inAcked === typed.length,
  });
  const world = new World(server, seed);
  const later = [];
  const tab = new Page(world, { draw: (done) => later.push(done) });
  tab.session.begin({ language: 'any' });
  const channel = tab.run({ mode });
  let moved = 0;
  let written = 0;
  for (let step = 0; step < 200_000 && !channel.exitAcked; step += 1) {
    const socket = world.socket;
    const choice = random();
    if (written < typed.length && choice < 0.3) {
      const size = frames === 'single' ? 1 : 1 + Math.floor(random() * 3000);
      if (channel.write(typed.subarray(written, written + size))) written = Math.min(typed.length, written + size);
    } else if (choice < 0.6 && socket.toServer.length) {
      moved += 1;
      if (cutAt(moved, random)) socket.drop();
      else socket.deliverToServer();
    } else if (choice < 0.9 && socket.toClient.length) {
      moved += 1;
      if (cutAt(moved, random)) socket.drop();
      else socket.deliverToClient();
    } else if (later.length) {
      later.splice(0, 1 + Math.floor(random() * 20)).forEach((done) => done());
    } else {
      server.flow();
      world.clock.step(world.clock.now + (socket.readyState === 1 ? 400 : 5000)); // not so far that silence is noticed
    }
  }
  world.settle(20_000);
  later.splice(0).forEach((done) => done());
  world.settle(20_000);
  same(tab.screens.get(channel), output);
  same(server.programs.get(channel.id).delivered, typed);
  assert.equal(server.programs.get(channel.id).starts, 1);
  assert.equal(server.programs.size, 1);
  assert.ok(server.programs.get(channel.id).exitAcked);
  assert.deepEqual([tab.exits.length, tab.gaps.length, tab.faults.length, tab.errors.length], [1, 0, 0, 0]);
  return { moved, sockets: world.sockets.length };
}

test('exact, with single bytes, cut once at every position', () => {
  const { moved } = exchange({ seed: 1, frames: 'single', cutAt: () => false, mode: 'tty' });
  assert.ok(moved > 500);
  for (let position = 1; position <= moved; position += 1) {
    const { sockets } = exchange({ seed: 1, frames: 'single', cutAt: (at) => at === position, mode: position % 2 ? 'tty' : 'pipe' });
    assert.equal(sockets, 2);
  }
});

test('exact, with frames of random sizes, cut at random again and again', () => {
  let cuts = 0;
  for (let seed = 1; seed <= 60; seed += 1) {
    cuts += exchange({ seed, frames: 'random', cutAt: (_, random) => random() < 0.05, mode: 'tty' }).sockets - 1;
  }
  assert.ok(cuts > 300, `${cuts} cuts`);
});

test('what is told again of a forgotten program begins no channel', () => {
  const { server, world, tab, session } = started({ outputOf: () => pattern(10) });
  const channel = tab.run();
  world.settle();
  const told = [];
  channel.on('artifact', ({ path }) => told.push(path));
  channel.on('diagnostics', (items) => told.push(items.length));
  for (const id of [channel.id, 77]) {
    server.say({ type: 'artifact', channel: id, path: 'a.png', mime: 'image/png', size: 1, url: 'view/s/c/a.png' });
    server.say({ type: 'diagnostics', channel: id, items: [] });
  }
  world.settle();
  assert.deepEqual(told, ['a.png', 0]);
  assert.equal(session.channels.size, 1);
});

test('an error without a channel ends what was asked for and not confirmed', () => {
  for (const code of ['bad_json', 'unknown_type', 'bad_message']) {
    const { server, world, tab, session } = started();
    world.settle();
    server.on_run = () => server.say({ type: 'error', code, message: 'no', retryable: false });
    const channel = tab.run();
    let lost = null;
    channel.on('lost', (error) => { lost = error; });
    world.settle();
    assert.equal(lost?.code, code);
    assert.equal(session.phase, 'open');
  }
});

test('a channel of a session that is over is lost at once', () => {
  const { world, tab, session } = started();
  world.settle();
  session.close();
  assert.equal(tab.run().phase, 'lost');
});

test('input and its end that were written before a program could be asked for follow its request', () => {
  const early = started();
  const first = early.tab.run({ mode: 'pipe' });
  first.write(utf8('abc'));
  first.end();
  early.world.settle();
  const away = started();
  away.world.settle();
  away.world.socket.drop();
  const second = away.tab.run({ mode: 'pipe' });
  second.write(utf8('abc'));
  second.end();
  away.world.settle(2000);
  for (const [{ server }, channel] of [[early, first], [away, second]]) {
    const program = server.programs.get(channel.id);
    assert.deepEqual([String.fromCharCode(...program.delivered), program.eof], ['abc', 3]);
  }
});
