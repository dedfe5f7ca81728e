// What a program writes cannot take the page's time: sequences with huge numbers, strings and marks without an end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import headless from '@xterm/headless';
import { joinBytes, utf8 } from '../../static/core/bytes.js';
import { MAX_MARKS, cells } from '../../static/core/cells.js';
import { MAX_SEQUENCE, MAX_STRING, OutputLimiter } from '../../static/core/limiter.js';
import { now, work } from './work.js';

const ESC = '\u001b';
const SIZE = { cols: 80, rows: 24 };
const FRAME = 65_536;
const latin1 = (bytes) => Buffer.from(bytes).toString('latin1');

const limiter = () => new OutputLimiter(() => SIZE);
const limited = (text) => latin1(joinBytes(limiter().take(utf8(text))));

function terminal() {
  const term = new headless.Terminal({ ...SIZE, scrollback: 10_000, allowProposedApi: true, logLevel: 'off' });
  term.unicode.register(cells);
  term.unicode.activeVersion = cells.version;
  return term;
}

/** Draws chunks; the time of all and that of the longest piece, in ms: the page does nothing else meanwhile. */
async function draw(chunks, term = terminal(), one = limiter()) {
  const begun = now();
  let longest = 0;
  for (const chunk of chunks) {
    for (const piece of one.take(chunk)) {
      const at = now();
      await new Promise((resolve) => { term.write(piece, resolve); });
      longest = Math.max(longest, now() - at);
    }
  }
  return { whole: now() - begun, longest, term };
}

function screen(term) {
  const { active } = term.buffer;
  return Array.from({ length: active.length }, (_, row) => active.getLine(row).translateToString(true)).join('\n').trimEnd();
}

test('numbers are lowered to the screen, for every sequence that repeats', () => {
  for (const [final, most] of [['S', 24], ['T', 24], ['L', 24], ['M', 24], ['@', 80], ['P', 80], ['X', 80], ['Z', 80], ['I', 80], ['b', 80], [' @', 80], [' A', 80], ["'}", 80], ["'~", 80], ['A', 65_535], ['r', 65_535]]) {
    assert.equal(limited(`a${ESC}[999999999${final}b`), `a${ESC}[${most}${final}b`);
    assert.equal(limited(`a\u009b999999999${final}b`), `a\u00c2\u009b${most}${final}b`);
    assert.equal(limited(`${ESC}[0000000000000099999999${final}`), `${ESC}[${most}${final}`);
    assert.equal(limited(`${ESC}[5${final}`), `${ESC}[5${final}`);
  }
  assert.equal(limited(`${ESC}[99\n99999S`), `${ESC}[\n24S`, 'a control among the digits is done still');
  assert.equal(limited(`${ESC}[3;99999999r`), `${ESC}[3;65535r`);
  assert.equal(limited(`${ESC}[38:2:999999999:1m`), `${ESC}[38:2:65535:1m`);
});

test('nothing else is changed, and it is not copied', () => {
  const text = utf8(`plain ü 日本 ${ESC}[1;38;5;200mred${ESC}[0m ${ESC}[2J${ESC}(B${ESC}]0;title\u0007${ESC}]8;;http://a.example/\u0007link${ESC}]8;;\u0007${ESC}P$qm${ESC}\\ 12345678901234567890 [999999999S`.repeat(50));
  const pieces = limiter().take(text);
  assert.deepEqual(latin1(joinBytes(pieces)), latin1(text));
  for (const piece of pieces) assert.equal(piece.buffer, text.buffer);
});

test('the border of a chunk may be anywhere', () => {
  const text = utf8(`a${ESC}[999999999S\u009b77777777Tü${ESC}]0;${'x'.repeat(MAX_STRING + 50)}\u0007b${ESC} \u0085${ESC}[${'1;'.repeat(MAX_SEQUENCE)}mc日${ESC}c`);
  const whole = latin1(joinBytes(limiter().take(text)));
  for (const step of [1, 2, 3, 7, 64]) {
    const one = limiter();
    const parts = [];
    for (let at = 0; at < text.length; at += step) parts.push(...one.take(text.subarray(at, at + step)));
    assert.equal(latin1(joinBytes(parts)), whole);
  }
  assert.ok(whole.includes('b') && whole.endsWith(`c\u00e6\u0097\u00a5${ESC}c`));
});

test('bytes that the terminal passes over hide nothing', () => {
  const bytes = (...parts) => joinBytes(parts.map((part) => (typeof part === 'string' ? utf8(part) : Uint8Array.of(part))));
  for (const hidden of [bytes(ESC, 0xff, '[999999999S'), bytes(`${ESC}[9`, 0xff, '99999999S'), bytes(ESC, 0xc2, '[999999999S'), bytes(`${ESC}[`, 0xef, 0xbb, 0xbf, '999999999S'), bytes(0xe2, 0xc2, 0x9b, '999999999S'), bytes(ESC, 0x7f, '[999999999S')]) {
    const out = latin1(joinBytes(limiter().take(hidden))).replace(/[^0-9]/g, '');
    assert.ok(Number(out) <= 924, out);
  }
});

test('a string or a sequence without an end is given up, a picture is not', () => {
  const title = limited(`${ESC}]0;${'x'.repeat(1_000_000)}\u0007after`);
  assert.ok(title.length < MAX_STRING + 20);
  assert.ok(title.endsWith('\u0018\u0007after'), JSON.stringify(title.slice(-20)));
  assert.ok(limited(`${ESC}P${'x'.repeat(1_000_000)}${ESC}\\after`).length < MAX_STRING + 20);
  assert.equal(limited(`${ESC}[${'1;'.repeat(100_000)}mafter`), 'after');
  const picture = `${ESC}]1337;File=inline=1:${'A'.repeat(1_000_000)}\u0007`;
  assert.equal(limited(picture), picture);
});

test('a cell takes so many marks, and the next stand by themselves', async () => {
  const { term, whole } = await draw([utf8(`e${'\u0301'.repeat(500_000)}`)]);
  const { active } = term.buffer;
  let longest = 0;
  for (let row = 0; row < active.length; row += 1) {
    for (let x = 0; x < SIZE.cols; x += 1) longest = Math.max(longest, active.getLine(row).getCell(x).getChars().length);
  }
  assert.equal(longest, MAX_MARKS + 1);
  assert.ok(whole < 100 * work(), `${whole} ms`);
  const { term: other } = await draw([utf8('e\u0301 a\u200db 日\u0301|')]);
  assert.equal(screen(other), 'e\u0301 a\u200db 日\u0301|');
});

const WORST = [
  ['scroll up', `${ESC}[999999999S`], ['scroll down', `${ESC}[999999999T`], ['insert lines', `${ESC}[999999999L`], ['delete lines', `${ESC}[999999999M`],
  ['repeat', `x${ESC}[999999999b`], ['repeat marks', `e${'\u0301'.repeat(40)}${`${ESC}[999999999b`.repeat(50)}`], ['tab back', `${ESC}[999999999Z`], ['tab', `${ESC}[999999999I`],
  ['insert', `${ESC}[999999999@`], ['scroll left', `${ESC}[999999999 @`], ['columns', `${ESC}[999999999'}`], ['reset', `${ESC}c`], ['fill', `${ESC}#8`],
  ['alternate', `${ESC}[?1049h${ESC}[?47;1047;1049l`], ['reverse index', `${ESC}M`], ['erase', `${ESC}[2J`], ['colours', `${ESC}]4;${'0;?;'.repeat(50_000)}\u0007`],
  ['links', `${ESC}]8;id=1;http://a.example/\u0007x\n`], ['one link', `${ESC}]8;;http://a.example/\u0007${'x\n'.repeat(30_000)}`], ['parameters', `${ESC}[${'1;'.repeat(30_000)}m`],
  ['zwj', '👩\u200d'], ['marks', 'a\u0301\u0301\u0301'], ['joiners', '\u200d'], ['insert mode', `${ESC}[4h${'x'.repeat(1000)}`], ['wide', '日本'], ['errors', '\u007f'],
];

test('64 KiB of the worst is drawn in seconds, and no piece of it holds the page for long', async () => {
  const unit = work();
  for (const [name, sequence] of WORST) {
    const bytes = utf8(sequence.repeat(Math.ceil(FRAME / sequence.length))).subarray(0, FRAME);
    const term = terminal();
    await new Promise((resolve) => { term.write('x\r\n'.repeat(11_000), resolve); });
    const { whole, longest } = await draw([bytes], term);
    assert.ok(whole < 400 * unit, `${name}: ${Math.round(whole)} ms`);
    assert.ok(longest < 20 * unit, `${name}: a piece of ${Math.round(longest)} ms`);
  }
});

/** Without the ends of links, whose place depends on the chunks. */
const unlinked = (bytes) => latin1(bytes).replaceAll(`${ESC}]8;;\u0007`, '');

/** Bytes that look like what terminals understand; the same for the same seed (mulberry32). */
function* sequences(seed) {
  let state = seed;
  const below = (most) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % most;
  };
  const pick = (all) => all[below(all.length)];
  const number = () => pick(['', '0', '1', '7', '999999999', '00000005', '4294967297', '99999999999999999999', '50', '1049', '4']);
  const final = () => String.fromCharCode(0x40 + below(63));
  const marks = () => pick(['\u0301', '\u200d', '\ufe0f', '🏽', '\u0600', '🇩', '\u1160']).repeat(1 + below(80));
  for (;;) {
    yield pick([
      () => `${pick([`${ESC}[`, '\u009b'])}${pick(['', '', '?', '>', '='])}${Array.from({ length: below(6) }, number).join(pick([';', ':']))}${pick(['', '', ' ', "'", '$', '!', '"'])}${final()}`,
      () => `${pick([`${ESC}]`, '\u009d'])}${pick(['0', '4', '8', '10', '52', '104', '1337', '08'])};${pick([';http://a.example/', '?', '0;?;'.repeat(below(3000)), 'x'.repeat(below(9000)), 'File=inline=1:AAAA'])}${pick(['\u0007', `${ESC}\\`, '\u0018', ''])}`,
      () => `${ESC}${pick(['', '', '#', '(', '%'])}${String.fromCharCode(0x30 + below(79))}`,
      () => `${ESC}P${number()}${pick(['$q', '+q', 'q', '|'])}${'y'.repeat(below(6000))}${pick([`${ESC}\\`, ''])}`,
      () => `${pick(['a', '日', '👩', 'ك'])}${marks()}`,
      () => `${pick(['word ', '\n', '\r\n', '\t', '日本', '\b'])}`.repeat(1 + below(60)),
      () => pick(['\u0000', '\u0018', '\u000e', '\u007f', '\ufeff', '\u0085', ESC]),
    ])();
  }
}

test('made up sequences: bounded in time, however they are cut, and the same as in one', async () => {
  const unit = work();
  for (let seed = 1; seed <= 25; seed += 1) {
    const parts = [];
    let size = 0;
    for (const part of sequences(seed)) {
      const bytes = utf8(part);
      if (seed % 3 === 0 && bytes.length > 3) bytes[seed % bytes.length] = 0xff; // what is no UTF-8
      parts.push(bytes);
      size += bytes.length;
      if (size > FRAME) break;
    }
    const bytes = joinBytes(parts);
    const chunks = [];
    for (let at = 0, step = 1; at < bytes.length; at += step, step = 1 + ((step * 7 + seed) % 1500)) chunks.push(bytes.subarray(at, at + step));
    const { whole, longest, term } = await draw(chunks);
    assert.ok(whole < 300 * unit && longest < 20 * unit, `seed ${seed}: ${Math.round(whole)} ms, ${Math.round(longest)} ms in one`);
    term.dispose();
    const one = limiter();
    const apart = joinBytes(chunks.flatMap((chunk) => one.take(chunk)));
    assert.equal(unlinked(apart), unlinked(joinBytes(limiter().take(bytes))), `seed ${seed}`);
  }
});
