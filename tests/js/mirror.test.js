// A project beside its workspace: a model of the workspace over HTTP, whose programs write when a test says so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textOf, utf8 } from '../../static/core/bytes.js';
import { Emitter } from '../../static/core/events.js';
import { Mirror, RUN_ROOM, fits } from '../../static/core/mirror.js';
import { parcels } from '../../static/core/parcels.js';
import { Remote, RemoteError } from '../../static/core/remote.js';
import { Clock } from './world.js';

class Workspace {
  files = new Map(); // path -> {bytes, mtime}
  asked = [];
  time = 1;
  broken = null;

  write(path, text) {
    this.files.set(path, { bytes: typeof text === 'string' ? utf8(text) : text, mtime: (this.time += 1) });
  }

  text(path) {
    return textOf(this.files.get(path).bytes);
  }

  fetch = async (url, { method, body, headers }) => {
    assert.equal(headers.Authorization, 'Bearer secret');
    assert.ok(url.startsWith('api/sessions/s/'));
    if (url.startsWith('api/sessions/s/archive')) {
      this.asked.push(`${method} archive`);
      if (this.broken) throw new TypeError('no network');
      if (this.archives === 'break off') return new Response(new ReadableStream({ start: (stream) => stream.error(new TypeError('cut')) }));
      if (this.archives === 'are refused') return Response.json({ code: 'too_many_files', detail: '', retryable: false }, { status: 413 });
      if (method === 'PUT') for (const file of this.unpack(body)) this.write(file.path, file.bytes);
      return method === 'PUT' ? Response.json({}) : new Response(this.pack([...this.files].map(([path, { bytes }]) => ({ path, bytes }))));
    }
    const path = decodeURIComponent(url.slice('api/sessions/s/files'.length).replace(/^\//, ''));
    this.asked.push(`${method} ${path}`);
    await this.before?.(method, path);
    if (this.broken) throw new TypeError('no network');
    const refuse = (status, code) => new Response(JSON.stringify({ code, detail: code, retryable: false }), { status });
    if (!path) return Response.json({ files: [...this.files].map(([name, { bytes, mtime }]) => ({ path: name, size: bytes.length, mtime_ms: mtime, folder: false })), complete: true });
    if (method === 'PUT') {
      this.write(path, body);
      return Response.json({});
    }
    const file = this.files.get(path);
    if (!file) return refuse(404, 'no_file');
    if (method === 'GET') return file.bytes.length ? new Response(file.bytes, { status: 206 }) : new Response('', { status: 416 });
    this.files.delete(path);
    if (method === 'PATCH') this.files.set(JSON.parse(body).path, file);
    return Response.json({});
  };
}

class FakeProject extends Emitter {
  guests = new Map();
  taken = [];
  constructor(files) {
    super();
    this.files = new Map(Object.entries(files));
  }
  list() { return [...this.files].map(([path, content]) => ({ path, content })); }
  take(path, text) {
    (this.files.has(path) ? this.files : this.guests).set(path, text);
    this.taken.push(path);
  }
  shut(path) { this.guests.delete(path); }
  edit(path, text) { this.files.set(path, text); }
  remove(path) {
    this.files.delete(path);
    this.emit('files');
  }
  rename(from, to) {
    this.files.set(to, this.files.get(from));
    this.files.delete(from);
    this.emit('renamed', { from, to });
    this.emit('files');
  }
}

function begun(files, sent) {
  const workspace = new Workspace();
  const remote = new Remote({ fetch: workspace.fetch, api: (path) => path }, { id: 's', token: 'secret' });
  const clock = new Clock();
  const packed = []; // what each archive holds
  const mirror = new Mirror({ remote, timers: clock, sent, pack: async (members) => { packed.push(members); return utf8(String(packed.length - 1)); }, unpack: async (archive) => workspace.unpack(archive) });
  const project = new FakeProject(files);
  mirror.project = project;
  workspace.pack = (members) => utf8(String(packed.push(members) - 1));
  workspace.unpack = (archive) => packed[Number(textOf(archive))];
  const conflicts = [];
  const failures = [];
  mirror.on('conflict', (path) => conflicts.push(path));
  mirror.on('failed', (error) => failures.push(error.code));
  /** What a run does: the workspace gets what it lacks before the program begins. */
  const run = async () => {
    const sending = mirror.toSend();
    const done = mirror.sending(sending);
    for (const { path, content } of sending) workspace.write(path, content);
    done.done();
    await mirror.refresh();
    return sending.map(({ path }) => path);
  };
  return { workspace, clock, mirror, project, conflicts, failures, run };
}

test('a run sends what the workspace lacks, and nothing twice', async () => {
  const { project, run } = begun({ 'a.py': '1', 'b.py': '2' });
  assert.deepEqual(await run(), ['a.py', 'b.py']);
  assert.deepEqual(await run(), []);
  project.edit('b.py', '3');
  assert.deepEqual(await run(), ['b.py']);
});

test('what a program wrote is shown beside the project, and what it deleted is sent again', async () => {
  const { workspace, mirror, run } = begun({ 'src/a.py': '1' });
  await run();
  workspace.write('out.txt', 'x');
  workspace.write('src/b.txt', 'y');
  workspace.files.delete('src/a.py');
  await mirror.refresh();
  assert.deepEqual(mirror.made.map(({ path }) => path), ['out.txt', 'src/b.txt']);
  assert.deepEqual(await run(), ['src/a.py']);
});

test('a file that only the program changed is taken over, and not sent back', async () => {
  const { workspace, mirror, project, conflicts, run } = begun({ 'data.txt': 'mine' });
  await run();
  workspace.write('data.txt', 'its');
  await mirror.refresh();
  assert.equal(project.files.get('data.txt'), 'its');
  assert.deepEqual(await run(), []);
  assert.deepEqual(conflicts, []);
});

for (const [mine, end] of [[true, 'mine 2'], [false, 'its']]) {
  test(`a file that both changed is a conflict: ${mine ? 'mine' : 'the program’s'} is chosen`, async () => {
    const { workspace, mirror, project, conflicts, run } = begun({ 'data.txt': 'mine' });
    await run();
    project.edit('data.txt', 'mine 2');
    workspace.write('data.txt', 'its');
    await mirror.refresh();
    await mirror.refresh();
    assert.deepEqual(conflicts, ['data.txt'], 'told once');
    assert.deepEqual(await run(), [], 'nothing is overwritten before the user has chosen');
    assert.deepEqual([workspace.text('data.txt'), project.files.get('data.txt')], ['its', 'mine 2']);
    mirror.resolve('data.txt', mine);
    await run();
    assert.deepEqual([workspace.text('data.txt'), project.files.get('data.txt')], [end, end]);
    assert.equal(mirror.conflicts.size, 0);
  });
}

test('a file of both that nobody has sent is a conflict, unless they are alike', async () => {
  const { workspace, mirror, conflicts } = begun({ 'a.txt': 'a', 'b.txt': 'b' });
  workspace.write('a.txt', 'a');
  workspace.write('b.txt', 'other');
  await mirror.refresh();
  assert.deepEqual(conflicts, ['b.txt']);
  assert.deepEqual(mirror.toSend(), []);
});

test('a file that became no text is a conflict that only the user’s can end', async () => {
  const { workspace, mirror, conflicts, run } = begun({ 'a.txt': 'a' });
  await run();
  workspace.write('a.txt', Uint8Array.of(0xff, 0xfe, 0x00));
  await mirror.refresh();
  assert.deepEqual(conflicts, ['a.txt']);
  mirror.resolve('a.txt', true);
  assert.deepEqual(await run(), ['a.txt']);
});

test('what is read while a run is on its way says nothing', async () => {
  const { workspace, mirror, project, conflicts, run } = begun({ 'a.txt': '1' });
  await run();
  workspace.write('a.txt', '1'); // touched: it is read again
  project.edit('a.txt', '2');
  workspace.before = async (method, path) => {
    if (method !== 'GET' || !path) return;
    workspace.before = null;
    const sending = mirror.sending(mirror.toSend());
    workspace.write('a.txt', '2');
    sending.done();
  };
  await mirror.refresh();
  assert.deepEqual(conflicts, []);
  assert.equal(project.files.get('a.txt'), '2');
});

test('a run that was refused has sent nothing', async () => {
  const { mirror } = begun({ 'a.txt': '1' });
  mirror.sending(mirror.toSend()).failed();
  assert.equal(mirror.toSend().length, 1);
});

test('renaming and deleting reach the workspace before the next run', async () => {
  const { workspace, mirror, project, run } = begun({ 'a.py': '1', 'b.py': '2' });
  await run();
  project.rename('a.py', 'lib/a.py');
  project.remove('b.py');
  assert.ok(mirror.busy);
  assert.ok(await mirror.settle());
  assert.deepEqual([...workspace.files.keys()], ['lib/a.py']);
  assert.ok(!workspace.asked.some((one) => one.startsWith('PUT')));
  assert.deepEqual(await run(), []);
});

test('a workspace that cannot be reached is told of by settle, and not in banners', async () => {
  const { workspace, mirror, project, run, failures } = begun({ 'a.py': '1', 'b.py': '2' });
  await run();
  workspace.broken = true;
  project.remove('b.py');
  assert.equal(await mirror.settle(), false);
  assert.deepEqual(failures, []);
  workspace.broken = false;
  assert.equal(await mirror.settle(), true);
  assert.deepEqual([...workspace.files.keys()], ['a.py']);
});

test('an open file of a program follows it, becomes the project’s when edited, and closes when it is gone', async () => {
  const { workspace, mirror, project, conflicts, run } = begun({ 'a.py': '1' });
  await run();
  for (const name of ['log.txt', 'gone.txt']) workspace.write(name, 'one');
  await mirror.refresh();
  for (const name of ['log.txt', 'gone.txt']) project.guests.set(name, await mirror.open(name));
  workspace.write('log.txt', 'two');
  workspace.files.delete('gone.txt');
  await mirror.refresh();
  assert.deepEqual([...project.guests], [['log.txt', 'two']]);
  project.guests.delete('log.txt');
  project.edit('log.txt', 'three');
  project.emit('adopted', { path: 'log.txt', text: 'two' });
  await mirror.refresh();
  assert.deepEqual(conflicts, []);
  assert.deepEqual(await run(), ['log.txt']);
});

test('a later page knows what the workspace has', async () => {
  const first = begun({ 'a.py': '1', 'b.py': '2' });
  await first.run();
  const later = begun({ 'a.py': '1', 'b.py': 'edited' }, JSON.parse(JSON.stringify(first.mirror.record())));
  later.workspace.files = first.workspace.files;
  await later.mirror.refresh();
  assert.deepEqual(later.conflicts, []);
  assert.deepEqual(await later.run(), ['b.py']);
});

test('two looks at once are one and one more', async () => {
  const { workspace, mirror } = begun({});
  await Promise.all([mirror.refresh(), mirror.refresh(), mirror.refresh()]);
  assert.ok(workspace.asked.length <= 2, workspace.asked.join());
});

test('what the server refuses has its code and its words', async () => {
  const { mirror } = begun({});
  await assert.rejects(mirror.remote.rename('no', 'where'), (error) => error instanceof RemoteError && error.code === 'no_file');
});

test('a folder moves at once, with what programs made in it', async () => {
  const { workspace, mirror, project, run } = begun({ 'lib/a.py': '1' });
  await run();
  assert.equal(await mirror.moveFolder('lib', 'other'), false, 'it is not known to be a folder there');
  mirror.entries.set('lib', { path: 'lib', folder: true });
  workspace.files.set('lib', { bytes: utf8(''), mtime: 1 });
  assert.equal(await mirror.moveFolder('lib', 'other'), true);
  project.rename('lib/a.py', 'other/a.py');
  assert.ok(workspace.asked.includes('PATCH lib'));
  assert.ok(!workspace.asked.includes('PATCH lib/a.py'));
  assert.deepEqual(mirror.toSend(), []);
});

test('what was edited is pushed for a shell, and a run waits for that', async () => {
  const { workspace, mirror, project, run } = begun({ 'a.py': '1', 'b.py': '2' });
  await run();
  project.edit('a.py', 'edited');
  mirror.push();
  assert.ok(mirror.busy);
  assert.deepEqual(mirror.toSend(), []);
  await mirror.settle();
  assert.equal(workspace.text('a.py'), 'edited');
  assert.equal(workspace.asked.filter((one) => one.startsWith('PUT')).length, 1);
  workspace.broken = true;
  project.edit('a.py', 'again');
  mirror.push();
  await mirror.settle();
  assert.deepEqual(mirror.toSend().map(({ path }) => path), ['a.py'], 'what did not arrive is sent by the next run');
});

test('a thousand small files are written as a few archives, a large one by itself', async () => {
  const small = Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`src/${at}.txt`, `file ${at}`]));
  const { workspace, mirror } = begun({ ...small, 'large.txt': 'x'.repeat(100_000), 'empty.txt': '' });
  mirror.push();
  await mirror.settle();
  const asked = workspace.asked.filter((one) => one.startsWith('PUT'));
  assert.deepEqual(asked, [...Array(4).fill('PUT archive'), 'PUT empty.txt', 'PUT large.txt']);
  assert.equal(workspace.files.size, 1002);
  assert.equal(workspace.text('src/999.txt'), 'file 999');
  assert.deepEqual(mirror.toSend(), []);
});

test('of many files the contents are fetched together, and what a program wrote is taken over', async () => {
  const { workspace, project, mirror, run, conflicts } = begun(Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`${at}.txt`, `file ${at}`])));
  await run();
  assert.deepEqual(workspace.asked, ['GET ', 'GET archive']);
  workspace.write('7.txt', 'by a program');
  await mirror.refresh();
  assert.deepEqual(workspace.asked.slice(2), ['GET ', 'GET 7.txt']);
  assert.equal(project.files.get('7.txt'), 'by a program');
  for (let at = 0; at < 100; at += 1) workspace.write(`${at}.txt`, `new ${at}`);
  project.edit('8.txt', 'mine');
  await mirror.refresh();
  assert.deepEqual(workspace.asked.slice(4), ['GET ', 'GET archive']);
  assert.equal(project.files.get('99.txt'), 'new 99');
  assert.deepEqual(conflicts, ['8.txt']);
  workspace.write('much.bin', new Uint8Array(100_000)); // it costs more than a hundred requests of a few bytes
  for (let at = 0; at < 20; at += 1) workspace.write(`${at}.txt`, `again ${at}`);
  await mirror.refresh();
  assert.equal(workspace.asked.filter((one) => one === 'GET archive').length, 2);
});

test('of files that are packed together none is taken for written where the archive did not arrive', async () => {
  const { workspace, mirror } = begun({ 'a.py': '1', 'b.py': '2', 'c.py': '3' });
  workspace.broken = true;
  mirror.push();
  await mirror.settle();
  assert.equal(mirror.toSend().length, 3);
});

test('where an archive breaks off each file is read by itself', async () => {
  const files = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`${at}.txt`, `file ${at}`]));
  const { workspace, project, mirror, run, failures } = begun(files);
  await run();
  workspace.archives = 'break off';
  for (let at = 0; at < 20; at += 1) workspace.write(`${at}.txt`, `new ${at}`);
  await mirror.refresh();
  assert.deepEqual([...project.files.values()], Array.from({ length: 20 }, (_, at) => `new ${at}`));
  assert.deepEqual(failures, []);
});

test('another project that is opened while an archive comes is not compared with it', async () => {
  const files = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`${at}.txt`, `file ${at}`]));
  const { workspace, mirror, run, failures } = begun(files);
  await run();
  for (let at = 0; at < 20; at += 1) workspace.write(`${at}.txt`, `new ${at}`);
  const { pack } = workspace;
  workspace.pack = (members) => {
    mirror.project = null;
    return pack(members);
  };
  await mirror.refresh();
  assert.deepEqual(failures, []);
});

test('files that a server does not take as an archive are written one by one', async () => {
  const { workspace, mirror, failures } = begun({ 'a.py': '1', 'b.py': '2', 'c.py': '3' });
  workspace.archives = 'are refused';
  mirror.push();
  await mirror.settle();
  assert.deepEqual([...workspace.files.keys()], ['a.py', 'b.py', 'c.py']);
  assert.deepEqual([mirror.toSend(), failures], [[], []]);
});

test('a parcel has a bound in bytes', () => {
  const file = (size) => ({ path: 'f', bytes: new Uint8Array(size) });
  const found = parcels(Array.from({ length: 40 }, () => file(60_000)));
  assert.equal(found.flat().length, 40);
  assert.ok(found.length >= 3 && found.every((parcel) => parcel.reduce((sum, { bytes }) => sum + bytes.length, 0) <= 1024 * 1024));
  assert.deepEqual(parcels([file(1), file(2)]).map(({ length }) => length), [1, 1]);
});

test('a workspace of very many files is not listed at each of its changes', async () => {
  const { workspace, clock, mirror } = begun({});
  for (let number = 0; number < 1500; number += 1) workspace.write(`f${number}`, '');
  for (let change = 0; change < 20; change += 1) await mirror.refresh();
  assert.equal(workspace.asked.length, 1);
  clock.advance(2000);
  await new Promise(setImmediate);
  while (mirror.busy) await new Promise(setImmediate);
  assert.equal(workspace.asked.length, 2, 'the last change is seen');
  await mirror.refresh();
  assert.ok(mirror.busy);
  await mirror.settle();
  assert.equal(workspace.asked.length, 3, 'a run does not wait for the rest, and sees it at once');
  assert.ok(!mirror.busy);
});

test('a path that would lead to another address is refused, and nothing is sent', async () => {
  const remote = new Remote({ fetch: async () => assert.fail('it was sent'), api: (path) => path }, { id: 's', token: 't' });
  for (const path of ['..', '../run', 'a/../../archive', './a', '', '/a', 'a//b', 'a/', 'half\ud800']) {
    for (const asked of [() => remote.read(path, 9), () => remote.head(path, 9), () => remote.blob(path), () => remote.write(path, 'x'), () => remote.rename(path, 'x'), () => remote.remove(path), () => remote.makeFolder(path)]) {
      await assert.rejects(asked, { code: 'bad_path' });
    }
  }
});

test('a text with half a character is uploaded, as no message can have it', () => {
  assert.ok(fits([{ path: 'a', content: '😀 \\ud800' }], RUN_ROOM));
  assert.ok(!fits([{ path: 'a', content: '# \ud800' }], RUN_ROOM));
});
