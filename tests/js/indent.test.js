// A file is indented as it is, as .editorconfig says, as its name says, or as its language is: in this order of weight.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { editorConfig, indentOfText, indentation } from '../../static/core/indent.js';

test('what a text shows', () => {
  assert.equal(indentOfText('a:\n\tb\n\tc\n'), '\t');
  assert.equal(indentOfText('if x:\n  y\n  if z:\n    w\n'), '  ');
  assert.equal(indentOfText('def f():\n    return 1\n'), '    ');
  assert.equal(indentOfText('/**\n * words\n * words\n */\nint x;\n'), null);
  assert.equal(indentOfText('one\ntwo\n'), null);
});

test('what .editorconfig says', () => {
  const text = 'root = true\n[*]\nindent_style = space\nindent_size = 3\n# no\n[*.{c,h}]\nindent_style=tab\n[lib/**.py]\nindent_size = 2\n';
  assert.deepEqual(editorConfig(text, 'a.py'), { indent_style: 'space', indent_size: '3' });
  assert.equal(editorConfig(text, 'src/a.h').indent_style, 'tab');
  assert.equal(editorConfig(text, 'lib/x/a.py').indent_size, '2');
  assert.deepEqual(editorConfig('[[[\nindent_size=9', 'a'), {});
});

test('which of them counts', () => {
  assert.deepEqual(indentation({ path: 'Makefile', text: '', spaces: 4 }), { unit: '\t', size: 4 });
  assert.deepEqual(indentation({ path: 'sub/rules.mk', text: 'a:\n    b\n', spaces: 2 }).unit, '\t');
  assert.deepEqual(indentation({ path: 'a.c', text: 'int f() {\n\treturn 1;\n}\n', spaces: 4 }).unit, '\t');
  assert.deepEqual(indentation({ path: 'a.py', text: 'if x:\n  y\n', spaces: 4 }).unit, '  ');
  assert.deepEqual(indentation({ path: 'a.py', text: 'if x:\n  y\n', spaces: 4, config: '[*.py]\nindent_size = 8' }).unit, ' '.repeat(8));
  assert.deepEqual(indentation({ path: 'a.go', text: '', spaces: 4 }).unit, '\t');
  assert.deepEqual(indentation({ path: 'a.py', text: '', spaces: 0 }).unit, '\t');
  assert.deepEqual(indentation({ path: 'a.py', text: '', spaces: 4 }), { unit: '    ', size: 4 });
});
