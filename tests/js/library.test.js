// Projects in the browser's database, with several pages at once: nothing is replaced in silence.
import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openDB } from 'idb';
import { Library } from '../../static/core/library.js';
import { Project, copyName, recordsOf } from '../../static/core/project.js';
import { Clock } from './world.js';

const LANGUAGE = { name: 'python', entry: 'main.py' };
const SAMPLE = { name: 'hello', entry: 'main.py', files: [{ path: 'main.py', content: 'print(1)\n' }] };
let number = 0;

/** A page of this browser: its library, and the project as it is there. */
async function page(name, id = 'p') {
  const channel = new BroadcastChannel(name);
  channel.unref(); // the test ends without it
  const library = await Library.open({ openDB, channel, name });
  await library.create({ id, language: 'python', name: 'One' }, recordsOf(LANGUAGE, SAMPLE));
  const clock = new Clock();
  const project = new Project({ library, language: LANGUAGE, id, name: 'One', records: await library.load(id), timers: clock });
  const heard = [];
  library.on('changed', ({ names }) => heard.push(project.told(names)));
  const events = [];
  for (const type of ['split', 'restored', 'taken', 'unsaved']) project.on(type, (detail) => events.push([type, detail]));
  const one = { library, project, events, clock, heard: async () => { await new Promise((resolve) => { setTimeout(resolve, 20); }); await Promise.all(heard); } };
  return one;
}

async function two() {
  const name = `test${(number += 1)}`;
  return [await page(name), await page(name)];
}

const stored = async ({ library, project }) => Object.fromEntries([...await library.load(project.id)].filter(([name]) => name.startsWith('file:')).map(([name, { value }]) => [name.slice(5), value]));

test('a project is there again, with its options and bytes', async () => {
  const [a] = await two();
  a.project.create('lib/a.py', 'A = 1\n');
  a.project.put([{ path: 'raw.bin', content: Uint8Array.of(0, 255) }]);
  a.project.set({ args: ['one'], env: 'A=1', mode: 'pipe' });
  a.clock.advance(1000);
  assert.equal(await a.project.save(), true);
  const again = new Project({ library: a.library, language: LANGUAGE, id: 'p', name: 'One', records: await a.library.load('p') });
  assert.deepEqual(again.paths, ['lib/a.py', 'main.py', 'raw.bin']);
  assert.deepEqual(again.files.get('raw.bin'), Uint8Array.of(0, 255));
  assert.deepEqual([again.args, again.env, again.mode, again.touched], [['one'], 'A=1', 'pipe', true]);
});

test('what one page writes the other has at once, and writes back nothing', async () => {
  const [a, b] = await two();
  a.project.edit('main.py', () => 'from a\n');
  a.project.set({ args: ['x'] });
  await a.project.save();
  await b.heard();
  assert.equal(b.project.text('main.py'), 'from a\n');
  assert.deepEqual(b.project.args, ['x']);
  assert.deepEqual(b.events, [['taken', 'main.py']]);
  assert.equal(b.project.unsaved, false);
  await b.project.close(); // an old page that goes replaces nothing
  assert.equal((await stored(a))['main.py'], 'from a\n');
});

test('pages that write different files do not touch each other', async () => {
  const [a, b] = await two();
  a.project.create('a.py', 'a');
  b.project.create('b.py', 'b');
  await Promise.all([a.project.save(), b.project.save()]);
  await Promise.all([a.heard(), b.heard()]);
  for (const one of [a, b]) assert.deepEqual(one.project.paths, ['a.py', 'b.py', 'main.py']);
});

test('two versions of one file are both kept', async () => {
  const [a, b] = await two();
  a.project.edit('main.py', 'of a');
  b.project.edit('main.py', 'of b');
  await a.project.save();
  await b.project.save();
  await b.project.save();
  assert.deepEqual(await stored(a), { 'main.py': 'of a', 'main (2).py': 'of b' });
  assert.deepEqual(b.events, [['split', { path: 'main.py', copy: 'main (2).py' }]]);
  assert.equal(b.project.active, 'main (2).py', 'who typed goes on in what was typed');
  await a.heard();
  assert.deepEqual(a.project.paths, ['main (2).py', 'main.py']);
  assert.equal(a.project.text('main.py'), 'of a');
});

test('deleted here, changed there: it stays; changed here, deleted there: it stays', async () => {
  const [a, b] = await two();
  a.project.edit('main.py', 'changed');
  b.project.remove('main.py');
  await a.project.save();
  await b.project.save();
  assert.equal(b.project.text('main.py'), 'changed');
  assert.ok(b.events.some(([type]) => type === 'restored'));
  await b.project.save();
  await a.heard();
  a.project.remove('main.py');
  b.project.edit('main.py', 'again');
  await a.project.save();
  await b.project.save();
  await b.project.save();
  assert.deepEqual(await stored(a), { 'main.py': 'again' });
});

test('deleted and renamed in one page, it is so in the other', async () => {
  const [a, b] = await two();
  a.project.create('old.py', 'x');
  await a.project.save();
  await b.heard();
  a.project.rename('old.py', 'new.py');
  a.project.remove('main.py');
  await a.project.save();
  await b.heard();
  assert.deepEqual(b.project.paths, ['new.py']);
  assert.equal(b.project.active, null);
});

test('the same text written twice is no conflict', async () => {
  const [a, b] = await two();
  for (const { project } of [a, b]) project.edit('main.py', 'same');
  await a.project.save();
  await b.project.save();
  assert.deepEqual(await stored(a), { 'main.py': 'same' });
});

test('what a page that went could not write is restored, or kept beside what came since', async () => {
  const [a, b] = await two();
  a.project.edit('main.py', 'last words');
  const left = JSON.parse(JSON.stringify(a.project.pending()));
  assert.deepEqual(left.map(({ name }) => name).sort(), ['file:main.py', 'option:touched']);
  const later = new Project({ library: b.library, language: LANGUAGE, id: 'p', name: 'One', records: await b.library.load('p') });
  later.restore(left);
  assert.equal(later.text('main.py'), 'last words');
  b.project.edit('main.py', 'since then');
  await b.project.save();
  const latest = new Project({ library: b.library, language: LANGUAGE, id: 'p', name: 'One', records: await b.library.load('p') });
  latest.restore(left);
  assert.deepEqual(latest.list(), [{ path: 'main (2).py', content: 'last words' }, { path: 'main.py', content: 'since then' }]);
});

test('a full store is told once, and once more when it is well again', async () => {
  const [a] = await two();
  const write = a.library.write.bind(a.library);
  a.library.write = () => Promise.reject(new DOMException('full', 'QuotaExceededError'));
  a.project.edit('main.py', 'x');
  assert.equal(await a.project.save(), false);
  assert.equal(await a.project.save(), false);
  assert.equal(a.project.unsaved, true);
  a.library.write = write;
  assert.equal(await a.project.save(), true);
  assert.deepEqual(a.events.map(([type, error]) => [type, error?.name ?? null]), [['unsaved', 'QuotaExceededError'], ['unsaved', null]]);
  assert.equal((await stored(a))['main.py'], 'x');
});

test('no file is open: nothing is edited, and the project lives on', async () => {
  const [a] = await two();
  a.project.hide('main.py');
  assert.equal(a.project.active, null);
  assert.deepEqual(a.project.paths, ['main.py']);
  a.project.show('main.py');
  assert.equal(a.project.active, 'main.py');
});

test('names of copies', () => {
  const taken = new Set(['a (2).py', 'lib/.env (2)']);
  assert.equal(copyName('a.py', (name) => taken.has(name)), 'a (3).py');
  assert.equal(copyName('lib/.env', (name) => taken.has(name)), 'lib/.env (3)');
  assert.equal(copyName('x.tar.gz', () => false), 'x (2).tar.gz');
  assert.equal(copyName('a (2).py', (name) => taken.has(name)), 'a (3).py');
  assert.equal(copyName('report (2024).txt', () => false), 'report (2024) (2).txt');
  assert.equal(copyName('Makefile', () => false), 'Makefile (2)');
});
