// Addresses of what is shown are kept for as long as it is, through failures, and no longer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kept } from '../../static/core/kept.js';
import { RemoteError } from '../../static/core/remote.js';
import { Clock } from './world.js';

const settled = () => new Promise((done) => { setImmediate(done); });

class Server {
  asked = [];
  error = null;

  constructor(clock) {
    this.clock = clock;
  }

  async keep(urls, frame = false) {
    this.asked.push({ at: this.clock.now, urls });
    if (this.error) throw this.error;
    return { kept: urls.map((url) => url !== 'forged'), ms: 300, ...(frame ? { word: 'w' } : {}) };
  }
}

function made(urls) {
  const clock = new Clock();
  const server = new Server(clock);
  const kept = new Kept(clock, () => urls);
  kept.from(server, () => 300);
  return { clock, server, kept };
}

async function pass(clock, ms) {
  for (const until = clock.now + ms; clock.now < until;) {
    clock.advance(10);
    await settled();
  }
}

test('all that is shown is kept, three times in the time for which it is good', async () => {
  const urls = ['a'];
  const { clock, server, kept } = made(urls);
  kept.later();
  await pass(clock, 150);
  urls.push('b');
  kept.later();
  await pass(clock, 850);
  assert.deepEqual(server.asked.slice(0, 2), [{ at: 100, urls: ['a'] }, { at: 200, urls: ['a', 'b'] }]);
  assert.equal(server.asked.length, 10);
  for (const [at, { at: when }] of server.asked.entries()) assert.ok(Math.abs(when - 100 * (at + 1)) <= 100);
});

test('where nothing is shown, nothing is asked, and the next thing begins it again', async () => {
  const urls = [];
  const { clock, server, kept } = made(urls);
  await pass(clock, 1000);
  assert.equal(server.asked.length, 0);
  urls.push('a');
  kept.later();
  await pass(clock, 150);
  assert.equal(server.asked.length, 1);
  urls.pop();
  await pass(clock, 1000);
  assert.equal(server.asked.length, 1);
  assert.equal(clock.pending, 0);
});

test('a request that is lost is made again; a session that is over is left alone', async () => {
  const { clock, server, kept } = made(['a']);
  server.error = new RemoteError('unreachable', 'no network', { retryable: true });
  kept.later();
  await pass(clock, 350);
  assert.equal(server.asked.length, 3);
  server.error = new RemoteError('no_session', 'over');
  await pass(clock, 1000);
  assert.equal(server.asked.length, 4);
  assert.equal(clock.pending, 0);
});

test('after a sleep it is kept at once; of many, the most important', async () => {
  const { clock, server, kept } = made(Array.from({ length: 70 }, (_, at) => `${at}`));
  kept.later();
  kept.soon();
  await pass(clock, 10);
  assert.equal(server.asked.length, 1);
  assert.equal(server.asked[0].urls.length, 64);
  assert.equal(server.asked[0].urls[0], '0');
});

test('a frame gets a word; what the server does not know is said', async () => {
  const { kept } = made([]);
  assert.equal((await kept.now('a')).word, 'w');
  await assert.rejects(kept.now('forged'), /not known/);
});

test('another session takes the place of the first', async () => {
  const { clock, server, kept } = made(['a']);
  kept.later();
  const second = new Server(clock);
  kept.from(second, () => 300);
  await pass(clock, 250);
  assert.equal(server.asked.length, 0);
  assert.equal(second.asked.length, 2);
});
