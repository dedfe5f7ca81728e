import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { duration, ending, seconds, sessionOver, size } from '../../static/core/ending.js';
import { inWords, noticeWords, problem } from '../../static/core/problem.js';
import { Remote } from '../../static/core/remote.js';
import { texts, useTexts } from '../../static/core/texts.js';
import { en } from '../../static/core/texts/en.js';

const exit = (change = {}) => ({
  type: 'exit', channel: 1, code: 0, signal: null, reason: 'exited', limits_hit: [], left_behind: 0, offset: 9,
  usage: { wall_ms: 1234, cpu_ms: 45, memory_peak_bytes: 9_437_184, output_bytes: 9 }, ...change,
});

const cases = [
  [{}, 'good', 'Finished'],
  [{ code: 3 }, 'bad', 'Ended with exit code 3'],
  [{ code: 137 }, 'bad', 'Ended with exit code 137'],
  [{ code: null, signal: 'SEGV', reason: 'signaled' }, 'bad', 'Ended by signal SIGSEGV (bad memory access)'],
  [{ code: null, signal: 'RTMIN', reason: 'signaled' }, 'bad', 'Ended by signal SIGRTMIN'],
  [{ code: null, reason: 'signaled' }, 'bad', 'Ended by an unknown signal'],
  [{ code: 1, reason: 'compile_failed' }, 'bad', 'Did not compile'],
  [{ code: null, signal: 'KILL', reason: 'oom', limits_hit: ['memory'] }, 'bad', 'Ran out of memory'],
  [{ code: null, signal: 'KILL', reason: 'wall_timeout' }, 'bad', 'Stopped: time limit reached'],
  [{ code: null, signal: 'KILL', reason: 'cpu_timeout' }, 'bad', 'Stopped: CPU time limit reached'],
  [{ code: null, signal: 'KILL', reason: 'output_limit' }, 'bad', 'Stopped: too much output'],
  [{ code: null, signal: 'KILL', reason: 'killed' }, 'plain', 'Stopped'],
  [{ code: null, reason: 'engine_lost' }, 'bad', 'Lost: its container is gone; how the program ended is unknown'],
];
for (const [change, tone, title] of cases) {
  test(`in words: ${title}`, () => {
    const words = ending(exit(change));
    assert.deepEqual([words.tone, words.title], [tone, title]);
    assert.ok(words.details.includes('1.23 s') && words.details.includes('CPU 45 ms') && words.details.includes('memory 9.0 MB'), words.details.join());
  });
}

test('what it wanted that is not here is said in the language of the page', (t) => {
  useTexts({ ...en, hints: { ...en.hints, crate: 'Die Kiste {word} fehlt.' } });
  t.after(() => useTexts(en));
  const said = ending(exit({ code: 1, hints: [en.hints.crate.replace('{word}', () => '$& serde'), 'Of another server.'] })).details;
  assert.deepEqual(said.slice(0, 2), ['Die Kiste $& serde fehlt.', 'Of another server.']);
});

test('what it wanted that is not here comes first', () => {
  assert.equal(ending(exit({ code: 1, hints: ['This session has no network.'] })).details[0], 'This session has no network.');
});

test('limits that were hit and processes left behind are told', () => {
  const { details } = ending(exit({ limits_hit: ['memory', 'pids', 'disk'], left_behind: 2 }));
  assert.equal(details.filter((detail) => /limit hit|left behind/.test(detail)).length, 4);
  assert.ok(ending(exit({ left_behind: 1 })).details.includes('1 process left behind was ended'));
});

test('what is not known is not said', () => {
  const usage = { wall_ms: null, cpu_ms: null, memory_peak_bytes: null, output_bytes: null };
  assert.deepEqual(ending(exit({ code: null, reason: 'engine_lost', usage })).details, []);
});

test('durations and sizes', () => {
  assert.deepEqual([0, 999, 1000, 59_949, 61_000, 3_660_000].map(duration), ['0 ms', '999 ms', '1.00 s', '59.9 s', '1 min 1 s', '1 h 1 min']);
  assert.deepEqual([0, 400, 1000, 12_400, 58_600, 61_000].map(seconds), ['0 s', '0 s', '1 s', '12 s', '59 s', '1 min 1 s']);
  assert.deepEqual([0, 1023, 1536, 10 * 1024 ** 2, 1023.9 * 1024 ** 2, 5 * 1024 ** 3].map(size), ['0 B', '1023 B', '1.5 KB', '10 MB', '1.0 GB', '5.0 GB']);
});

// Answers to programs that run something over HTTP: no page gets them.
const FOR_PROGRAMS = ['bad_method', 'no_address', 'wrong_host', 'body_too_large', 'bad_media', 'key_reused', 'no_run', 'spool_full', 'already_running'];

test('every error of the protocol has words, or is dealt with in silence', () => {
  const table = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8').split('## Error codes')[1];
  const codes = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code);
  assert.ok(codes.length > 30);
  for (const code of codes.filter((one) => !FOR_PROGRAMS.includes(one))) {
    const told = problem({ code, message: 'm' });
    assert.notEqual(told?.title, 'Something went wrong.', code);
  }
});

test('an error of the future is shown in the words of the server', () => {
  assert.deepEqual(problem({ code: 'new_one', message: 'the moon is full' }), { title: 'Something went wrong.', detail: 'the moon is full (new_one)' });
});

test('what the server refuses and tells is said by the table', async () => {
  assert.equal(inWords({ code: 'no_file', message: "there is no 'a.txt'" }), "A file is not there any more. there is no 'a.txt' (no_file)");
  const before = en;
  useTexts({ ...en, errors: { no_file: 'Eine Datei ist weg.' }, notices: { evicted: 'Ende.' }, inEnglish: (_, code) => `(${code})` });
  try {
    assert.deepEqual(problem({ code: 'no_file', message: 'there is none' }), { title: 'Eine Datei ist weg.', detail: '(no_file)' });
    assert.equal(inWords({ code: 'no_file', message: 'there is none' }), 'Eine Datei ist weg. (no_file)');
    assert.deepEqual(noticeWords({ code: 'evicted', message: 'the server ends this' }), { title: 'Ende.', detail: '(evicted)' });
    const remote = new Remote({ fetch: async () => Response.json({ code: 'no_file', detail: 'there is none' }, { status: 404 }), api: (path) => path }, { id: 's', token: 't' });
    await assert.rejects(remote.list(), { code: 'no_file', message: 'Eine Datei ist weg. (no_file)' });
  } finally {
    useTexts(before);
  }
});

test('every notice of the protocol has words', () => {
  const told = readFileSync(new URL('../../server/coderunner/schema/server_messages.py', import.meta.url), 'utf8').split('class Notice')[1].split('class ')[0];
  const codes = [...told.matchAll(/`(\w+)`/g)].map(([, code]) => code).filter((code) => code !== 'closed');
  assert.ok(codes.length >= 4);
  const bySelf = ['idle_warning', 'lifetime_warning']; // a banner with what is to be done
  assert.deepEqual(codes.filter((code) => !bySelf.includes(code) && !Object.hasOwn(en.notices, code)), []);
});

test('why a session is over', () => {
  assert.match(sessionOver('idle_timeout'), /nothing happened/);
  assert.equal(sessionOver('whatever'), 'The session is over.');
});

test('an answer that breaks off, and one that the end of the session aborts, are told in words of the table', async () => {
  const remoteOf = (/** @type {(stream: ReadableStreamDefaultController, signal: AbortSignal) => void} */ body) => new Remote({
    fetch: async (url, { signal }) => new Response(new ReadableStream({ start: (stream) => body(stream, signal) })), api: (path) => path,
  }, { id: 's', token: 't' });
  for (const read of ['list', 'blob', 'archive', 'head', 'read']) {
    const cut = remoteOf((stream) => stream.error(new TypeError('network error')));
    await assert.rejects(cut[read]('a', 10), { code: 'unreachable', message: texts.session.unreachable });
    const over = remoteOf((stream, signal) => signal.addEventListener('abort', () => stream.error(signal.reason)));
    const asked = over[read]('a', 10);
    setTimeout(() => over.close());
    await assert.rejects(asked, { code: 'no_session', message: texts.session.over });
  }
});
