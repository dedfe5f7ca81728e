// The operator's tables: what a filter leaves, how a column orders, and which answer is shown.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { latest, matching, sorted } from '../../static/admin/rows.js';

const row = (key, ...cells) => ({ key, cells });
const keys = (rows) => rows.map(({ key }) => key).join('');
const ROWS = [
  row('a', { text: 'grader', wide: true }, 'good', '–', { buttons: [{ label: 'Revoke', about: 'Revoke grader', act: () => {} }] }),
  row('b', { text: 'Prometheus', small: 'metrics only' }, 'revoked', 'room 10'),
  row('c', 'tina', 'good', 'room 9'),
];

test('a row is left that has all words in any of its cells, in any case', () => {
  for (const [words, left] of [['', 'abc'], ['  ', 'abc'], ['GOOD', 'ac'], ['good tin', 'c'], ['metrics', 'b'], ['revoke', 'b'], ['x', ''], ['room 9', 'c']]) {
    assert.equal(keys(matching(ROWS, words)), left, words);
  }
});

test('a column orders by its texts, numbers in them by their size; what is not known comes last both ways', () => {
  assert.equal(keys(sorted(ROWS, 0, false)), 'abc');
  assert.equal(keys(sorted(ROWS, 0, true)), 'cba');
  assert.equal(keys(sorted(ROWS, 2, false)), 'cba');
  assert.equal(keys(sorted(ROWS, 2, true)), 'bca');
  assert.equal(keys(sorted(ROWS, 1, false)), 'acb', 'the same: as they come');
  assert.equal(keys(ROWS), 'abc');
});

test('a column of numbers in words orders by the numbers', () => {
  const rows = [{ key: 'a', cells: ['2 KiB'], by: { 0: 2048 } }, { key: 'b', cells: ['900 B'], by: { 0: 900 } }, { key: 'c', cells: ['–'], by: { 0: null } }, { key: 'd', cells: ['0 B'], by: { 0: 0 } }];
  assert.equal(keys(sorted(rows, 0, false)), 'dbac');
  assert.equal(keys(sorted(rows, 0, true)), 'abdc');
});

test('an answer that comes after a later one is not shown', async () => {
  const answers = [];
  const shown = [];
  const draw = latest(() => new Promise((resolve) => { answers.push(resolve); }), (answer) => shown.push(answer));
  const both = [draw(), draw()];
  answers[1]('new');
  answers[0]('old');
  await Promise.all(both);
  assert.deepEqual(shown, ['new']);
});
