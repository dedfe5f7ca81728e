// The table of texts: what names one finds it, each is used, and a translation has them all.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { ESLint } from 'eslint';
import { ending, size } from '../../static/core/ending.js';
import { texts, useTexts } from '../../static/core/texts.js';
import { en } from '../../static/core/texts/en.js';
import { pseudoOf } from '../../static/core/texts/pseudo.js';
import { words } from '../../static/core/texts/words.js';

const root = new URL('../../', import.meta.url);
const read = (path) => readFileSync(new URL(`static/${path}`, root), 'utf8');
const sources = ['app', 'core', 'room'].flatMap((folder) => readdirSync(new URL(`static/${folder}/`, root)).filter((name) => name.endsWith('.js')).map((name) => read(`${folder}/${name}`)));
const markup = ['index.html', 'room/index.html'].map(read).join('\n').replace(/<svg hidden>[^]*?<\/svg>\n\n/, '');
const named = [...markup.matchAll(/data-text(?:-\w+)?="([\w.]+)"/g)].map(([, name]) => name);

test('the markup has no text of its own', () => {
  assert.deepEqual([...markup.matchAll(/>\s*([^<>]*\p{L}{2,}[^<>]*?)\s*</gu)].map(([, text]) => text).filter((text) => text !== 'CodeRunner'), []);
  assert.deepEqual([...markup.matchAll(/\s(?:aria-label|title|placeholder|alt)="([^"]+)"/g)].map(([, text]) => text), []);
});

test('what the markup names is in the table', () => {
  assert.ok(named.length > 80);
  assert.deepEqual(named.filter((name) => typeof name.split('.').reduce((table, key) => table?.[key], en) !== 'string'), []);
});

test('every text is used', () => {
  const code = sources.join('\n');
  const rooms = Object.entries(en).filter(([, room]) => typeof room === 'object');
  const unused = rooms.flatMap(([room, table]) => Object.keys(table).map((key) => [room, key]))
    .filter(([room]) => !['errors', 'over'].includes(room)) // by codes of the protocol: words.test.js
    .filter(([room, key]) => !named.includes(`${room}.${key}`) && !code.includes(`texts.${room}.${key}`) && !new RegExp(`\\b(help|names|units|languages)\\.${key}\\b|'${key}'|texts\\.${room}\\[`).test(code));
  assert.deepEqual(unused, []);
});

/** The keys of a table and how each of its texts is called. */
const shape = (table) => Object.fromEntries(Object.entries(table).map(([key, value]) => [key, typeof value === 'object' ? shape(value) : typeof value]));

test('a translation has every text; the pseudo-language marks each, and is a third longer', () => {
  const pseudo = pseudoOf(en);
  assert.deepEqual(shape(pseudo), shape(en));
  assert.match(pseudo.bar.run, /^⟦Run~+⟧$/);
  assert.match(pseudo.problems.errors(3), /^⟦3 errors~+⟧$/);
  useTexts(pseudo);
  try {
    const told = ending({ reason: 'signaled', signal: 'SEGV', limits_hit: ['memory'], left_behind: 2, usage: { wall_ms: 61_000, cpu_ms: 5, memory_peak_bytes: 9_000_000 } });
    for (const text of [told.title, ...told.details, size(5)]) assert.match(text, /^⟦.*⟧$/);
    assert.equal(texts, pseudo);
  } finally {
    useTexts(en);
  }
});

test('numbers and plurals are those of the language', () => {
  const few = words('pl');
  const forms = { one: 'plik', few: 'pliki', many: 'plików', other: 'pliku' };
  assert.deepEqual([1, 3, 5, 22].map((count) => few.plural(count, forms)), ['plik', 'pliki', 'plików', 'pliki']);
  assert.equal(words('de').number(1234.5, 1), '1.234,5');
  assert.deepEqual([1, 2].map(en.upload.done), ['1 file uploaded.', '2 files uploaded.']);
  assert.deepEqual([1, 2].map(en.options.variables), ['1 variable', '2 variables']);
});

test('a literal text in the page is an error of make lint', async () => {
  const eslint = new ESLint({ cwd: new URL('.', root).pathname });
  const found = async (code) => (await eslint.lintText(code, { filePath: 'static/app/made-up.js' }))[0].messages.filter(({ ruleId }) => ruleId === 'page/no-literal-texts').length;
  const wrong = [
    "document.body.textContent = 'Loading';", "document.title = `run ${location.host}`;", "throw new Error('It is not there.');",
    "document.body.setAttribute('aria-label', 'menu');", "export const hints = ['Press the button to go on'];", "document.body.title = location.host ? 'yes' : '';",
    "export const ask = () => ({ title: 'Sure?' });", "import { texts } from '../core/texts.js';\nexport const early = texts.bar.run;",
  ];
  for (const code of wrong) assert.equal(await found(code), 1, code);
  const right = [
    "document.body.className = 'icon-button small';", "document.querySelector('.tabs button');", "export const is = ({ key }) => key === 'Enter';",
    "import { texts } from '../core/texts.js';\nexport const late = () => texts.bar.run;", "throw new RangeError('no such thing');",
  ];
  for (const code of right) assert.equal(await found(code), 0, code);
});
