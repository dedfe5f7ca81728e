import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseEnv } from '../../static/core/env.js';
import { locations, relative } from '../../static/core/locations.js';

test('an environment is lines of NAME=value', () => {
  assert.deepEqual(parseEnv(''), { env: {}, problem: null });
  assert.deepEqual(parseEnv('A=1\r\n# a remark\n\n  _B2 =x=y \nEMPTY=\nA=2'), { env: { A: '2', _B2: 'x=y ', EMPTY: '' }, problem: null });
  assert.equal(JSON.stringify(parseEnv('__proto__=x').env), '{"__proto__":"x"}');
});

test('a wrong line of an environment is named', () => {
  for (const [text, problem] of [
    ['A=1\nB', /Line 2: NAME=value/], ['2A=1', /Line 1: a name/], ['A-B=1', /Line 1/], ['=x', /Line 1/], [`${'N'.repeat(129)}=`, /Line 1/],
    ['A=\u0000', /character/], ['A=\ud800', /character/], [`A=${'x'.repeat(32_769)}`, /too long/],
    [Array.from({ length: 257 }, (_, at) => `V${at}=`).join('\n'), /256/],
  ]) assert.match(parseEnv(text).problem, problem, text.slice(0, 20));
});

const paths = ['main.py', 'lib/main.py', 'a b.c', 'main.ts', 'main.php', 'Main.java', 'ä.rs'];
const found = (text) => locations(text, paths).map(({ path, line, column, from, to }) => [path, line, column, text.slice(from, to)]);

test('places in the project are found in what compilers and tracebacks write', () => {
  assert.deepEqual(found('  File "/workspace/main.py", line 3, in <module>'), [['main.py', 3, null, '/workspace/main.py", line 3']]);
  assert.deepEqual(found('  File "lib/main.py", line 12'), [['lib/main.py', 12, null, 'lib/main.py", line 12']]);
  assert.deepEqual(found('a b.c:4:7: error: expected ;'), [['a b.c', 4, 7, 'a b.c:4:7']]);
  assert.deepEqual(found('main.ts(3,17): error TS2322'), [['main.ts', 3, 17, 'main.ts(3,17)']]);
  assert.deepEqual(found('Fatal error in /workspace/main.php on line 9'), [['main.php', 9, null, '/workspace/main.php on line 9']]);
  assert.deepEqual(found('at main.py line 2.'), [['main.py', 2, null, 'main.py line 2']]);
  assert.deepEqual(found('\tat Main.main(Main.java:5)'), [['Main.java', 5, null, 'Main.java:5']]);
  assert.deepEqual(found('--> ./ä.rs:1:2 and ä.rs:3'), [['ä.rs', 1, 2, './ä.rs:1:2'], ['ä.rs', 3, null, 'ä.rs:3']]);
});

test('what is not a place in the project is no link', () => {
  for (const text of [
    'main.py', 'main.py:', 'main.py: 3', 'xmain.py:3', 'other/main.py:3', '/usr/lib/main.py:3', 'main.pyc:3', 'main.py:0',
    'other.py:3', '../main.py:3', `${'x'.repeat(5000)} main.py:3`, 'main.py:99999999',
  ]) assert.deepEqual(found(text), [], text.slice(-30));
});

test('a name is made relative to the workspace', () => {
  assert.equal(relative('/workspace/src/a.c'), 'src/a.c');
  assert.equal(relative('./src/a.c'), 'src/a.c');
  assert.equal(relative('/usr/include/stdio.h'), null);
});
