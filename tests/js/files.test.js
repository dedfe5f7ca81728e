// Archives, tables and trees: what is made and read in the page without a session.
import assert from 'node:assert/strict';
import { deflateRawSync } from 'node:zlib';
import { test } from 'node:test';
import { anyText, textOf, utf8 } from '../../static/core/bytes.js';
import { MAX_COLUMNS, MAX_ROWS, parseTable } from '../../static/core/csv.js';
import { rows } from '../../static/core/tree.js';
import { unzip as unpack, zip as pack } from '../../static/core/zip.js';
import * as lib from '@zip.js/zip.js/lib/zip-core-native.js';
import { crc32 } from './crc.js';

const bounds = { maxFiles: 10, maxBytes: 1000 };
const unzip = (data, most) => unpack(lib, data, most);
const zip = (files) => pack(lib, files);
const read = async (bytes, most = bounds) => (await unzip(bytes, most)).map(({ path, bytes: content }) => [path, textOf(content)]);

/** An archive of one deflated file that claims to have `size` bytes. */
function deflated(path, bytes, { size = bytes.length, method = 8, mode = 0o100644, flags = 0, name = utf8(path), sum = crc32(bytes) } = {}) {
  const raw = method === 8 ? deflateRawSync(bytes) : bytes;
  const common = Buffer.alloc(26);
  common.writeUInt16LE(20, 0);
  common.writeUInt16LE(flags, 2);
  common.writeUInt16LE(method, 4);
  common.writeUInt32LE(sum, 10);
  common.writeUInt32LE(raw.length, 14);
  common.writeUInt32LE(size, 18);
  common.writeUInt16LE(name.length, 22);
  const central = Buffer.alloc(14);
  central.writeUInt32LE((mode << 16) >>> 0, 6);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(30 + name.length + raw.length, 16);
  return new Uint8Array(Buffer.concat([
    Buffer.from('PK\u0003\u0004'), common, name, raw, Buffer.from('PK\u0001\u0002\u0014\u0000'), common, central, name, end,
  ]));
}

test('a project becomes an archive and comes back from one', async () => {
  const files = [['main.py', 'print(1)\n'], ['lib/ä b.txt', ''], ['x', 'ü'.repeat(100)]];
  const bytes = await zip(files.map(([path, text]) => ({ path, bytes: utf8(text) })));
  assert.deepEqual(await read(bytes), files);
  assert.equal(crc32(utf8('123456789')), 0xcbf43926);
});

test('what others packed is read: deflated, with a comment behind, without folders and links', async () => {
  const text = 'line\n'.repeat(50);
  const bytes = deflated('a/b.txt', utf8(text));
  assert.deepEqual(await read(bytes), [['a/b.txt', text]]);
  assert.deepEqual(await read(Uint8Array.from([...bytes, ...utf8('a comment')])), [['a/b.txt', text]]);
  assert.deepEqual(await read(deflated('link', utf8('/etc/passwd'), { mode: 0o120777 })), []);
  assert.deepEqual(await read(deflated('folder/', utf8(''))), []);
});

test('a bomb, an archive of too many, a broken or a foreign one are refused in words', async () => {
  const bomb = deflated('zeros', new Uint8Array(50_000_000), { size: 10 });
  assert.ok(bomb.length < 60_000);
  await assert.rejects(unzip(bomb, bounds), /broken/, 'it lies about its size');
  await assert.rejects(unzip(deflated('zeros', new Uint8Array(50_000_000)), bounds), /more than can be taken/);
  await assert.rejects(unzip(deflated('stored', new Uint8Array(2000), { method: 0 }), bounds), /more than can be taken/);
  const many = await zip(Array.from({ length: 11 }, (_, at) => ({ path: `f${at}`, bytes: utf8('') })));
  await assert.rejects(unzip(many, bounds), /11 files; at most 10/);
  await assert.rejects(unzip(utf8('no archive at all, but long enough to be one'), bounds), /not a zip/);
  await assert.rejects(unzip(new Uint8Array(), bounds), /not a zip|broken/);
  await assert.rejects(unzip(deflated('x', utf8('x'), { flags: 1 }), bounds), /encrypted/);
  await assert.rejects(unzip(deflated('x', utf8('x'), { method: 14 }), bounds), /not known/);
});

// Names as old tools wrote them, and their bytes.
const OLD_NAMES = [
  ['größe/Übung.txt', '677294e1652f9a62756e672e747874'], // cp437
  ['größe/Übung.txt', '677294e1652f9a62756e672e747874'], // cp850
  ['ñ×Á.txt', 'a49eb52e747874'], // cp850
  ['café.txt', '636166822e747874'], // cp437
  ['été/À côté.py', '8274822fb720639374822e7079'], // cp850
  ['Ação.c', '4187c66f2e63'], // cp850
  ['日本語/テスト.py', '93fa967b8cea2f8365835883672e7079'], // shift_jis
  ['課題1.py', '89db91e8312e7079'], // shift_jis
  ['中文.py', 'd6d0cec42e7079'], // gbk
  ['北京.txt', 'b1b1bea92e747874'], // gbk, and Hangul by chance
  ['报告.doc', 'b1a8b8e62e646f63'],
  ['作业/第一题.c', 'd7f7d2b52fb5dad2bbcce22e63'], // gbk
  ['作業/練習.py', 'a740b77e2fbd6db2df2e7079'], // big5
  ['과제/연습.py', 'b0fac1a62fbfacbdc02e7079'], // euc-kr
  ['Привет.py', '8fe0a8a2a5e22e7079'], // cp866
  ['Задание 1/ответ.c', '87a0a4a0ada8a520312faee2a2a5e22e63'], // cp866
];

test('names are what their maker meant: flags, code pages, backslashes, decomposed letters', async () => {
  const path = async (name, options = {}, language = 'en') => (await unpack(lib, deflated('', utf8('x'), { name, ...options }), { ...bounds, language }))[0].path;
  assert.equal(await path(utf8('ä.txt'), { flags: 0x800 }), 'ä.txt');
  assert.equal(await path(utf8('ä.txt')), 'ä.txt', 'UTF-8 without its flag');
  assert.equal(await path(Uint8Array.of(0x84, 0x2e, 0x74)), 'ä.t', 'CP437');
  assert.equal(await path(Uint8Array.of(0x93, 0xfa, 0x96, 0x7b), {}, 'ja-JP'), '日本', 'Shift JIS, for who reads Japanese');
  assert.equal(await path(Uint8Array.of(0x8f, 0xe0), {}, 'ru'), 'Пр', 'CP866');
  for (const [name, hex] of OLD_NAMES) {
    assert.equal(await path(Uint8Array.from(Buffer.from(hex, 'hex'))), name, 'whatever the user reads');
  }
  assert.equal(await path(utf8('lib\\sub\\a.py')), 'lib/sub/a.py', 'of Windows');
  assert.equal(await path(utf8('../up')), '../up', 'who takes it judges it');
  assert.equal(await path(utf8('u\u0308.py')), 'ü.py', 'of macOS');
});

test('what is damaged is told', async () => {
  await assert.rejects(unzip(deflated('a.txt', utf8('hello'), { sum: 1 }), bounds), /a\.txt.*damaged/);
});

test('an archive that is cut or changed anywhere ends in words, never in a fault', async () => {
  const whole = deflated('a.txt', utf8('hello hello hello'));
  for (let at = 0; at < whole.length; at += 1) {
    const changed = Uint8Array.from(whole);
    changed[at] ^= 0xff;
    for (const bytes of [changed, whole.subarray(0, at)]) {
      await unzip(bytes, bounds).catch((error) => assert.ok(error.constructor === Error, `${at}: ${error.stack}`));
    }
  }
});

const cells = (text, options) => parseTable(text, options).rows;

test('a table is read with its quotes, whatever separates', () => {
  assert.deepEqual(cells('a,b\n1,"x, ""y""\nz"\n'), [['a', 'b'], ['1', 'x, "y"\nz']]);
  assert.deepEqual(cells('\ufeffa;b\r\n1,5;2\r\n'), [['a', 'b'], ['1,5', '2']]);
  assert.deepEqual(cells('a\tb\n\t\nlast'), [['a', 'b'], ['', ''], ['last']]);
  assert.deepEqual(cells(''), []);
});

test('a table is bounded, and says that there is more', () => {
  const long = parseTable('1\n'.repeat(MAX_ROWS + 1));
  assert.deepEqual([long.rows.length, long.more], [MAX_ROWS, true]);
  assert.equal(parseTable('1\n'.repeat(MAX_ROWS)).more, false);
  const wide = parseTable('x,'.repeat(1000));
  assert.deepEqual([wide.rows[0].length, wide.more], [MAX_COLUMNS, true]);
  assert.ok(cells(`"${'x'.repeat(100_000)}"`)[0][0].length < 400);
  assert.deepEqual(cells('a,b\n1,2\n3,', { whole: false }), [['a', 'b'], ['1', '2']], 'a line that may be half is not shown');
});

test('a tree has folders first, in an order that people expect', () => {
  const all = rows([{ path: 'b.py' }, { path: 'a10.py' }, { path: 'a9.py' }, { path: 'z/y/x.py' }, { path: 'z/a.py' }], () => true);
  assert.deepEqual(all.map(({ path, level }) => [path, level]), [['z', 1], ['z/y', 2], ['z/y/x.py', 3], ['z/a.py', 2], ['a9.py', 1], ['a10.py', 1], ['b.py', 1]]);
  const closed = rows([{ path: 'z/a.py' }, { path: 'e', folder: true }], () => false);
  assert.deepEqual(closed.map(({ path, folder, open }) => [path, folder, open]), [['e', true, false], ['z', true, false]]);
});

test('a text is known in whatever encoding, also where a character is cut; what is none is not', () => {
  const cut = utf8('words é').subarray(0, -1);
  assert.deepEqual(anyText(cut, false), { text: 'words ', encoding: 'UTF-8' });
  assert.equal(anyText(cut, true)?.encoding, 'Windows-1252', 'all of it ends so');
  assert.deepEqual(anyText(utf8('Grüße \ufffd'), true), { text: 'Grüße \ufffd', encoding: 'UTF-8' }, 'what another decoder left');
  assert.deepEqual(anyText(Uint8Array.of(0xff, 0xfe, 0x41, 0), true), { text: 'A', encoding: 'UTF-16LE' });
  assert.deepEqual(anyText(Uint8Array.of(0xfe, 0xff, 0, 0x41), true), { text: 'A', encoding: 'UTF-16BE' });
  assert.deepEqual(anyText(Uint8Array.of(0x47, 0x72, 0xfc, 0xdf, 0x65), true)?.text, 'Grüße');
  for (const bytes of [Uint8Array.from({ length: 256 }, (_, at) => at), Uint8Array.of(0, 1, 2), Uint8Array.of(0xd0, 0xd1, 0xd2, 0x41)]) {
    assert.equal(anyText(bytes, true), null);
  }
});
