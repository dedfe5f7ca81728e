// Making a key on the operator's page: once, and what is told where it cannot be copied.
import assert from 'node:assert/strict';
import { test } from 'node:test';

const elements = new Map();
const element = () => {
  const listeners = new Map();
  return {
    value: '', textContent: '', dataset: {}, children: [], listeners, classList: { contains: () => false },
    addEventListener: (type, act) => listeners.set(type, act), setAttribute() {}, append() {}, replaceChildren() {}, reset() {},
    contains: () => false, parentElement: { querySelectorAll: () => [] }, cells: [], querySelector: () => null,
  };
};
const at = (id) => {
  if (!elements.has(id)) elements.set(id, element());
  return elements.get(id);
};
globalThis.document = { getElementById: at, createElement: element, documentElement: { dataset: {} }, baseURI: 'https://here.example/' };
globalThis.addEventListener = () => {};
globalThis.sessionStorage = { getItem: () => null };
Object.defineProperty(globalThis, 'navigator', { value: { platform: '' }, configurable: true });
const answers = { keys: { keys: [] }, quotas: { roles: [], used: [] } };
const made = [];
globalThis.fetch = async (url, { method }) => {
  if (method === 'POST') return new Promise((resolve) => { made.push((key) => resolve(Response.json({ key }, { status: 201 }))); });
  return Response.json(answers[url.pathname.split('/').at(-1)]);
};
const { hideKey, setUpKeys } = await import('../../static/admin/keys.js');
setUpKeys();

test('while a key is being made, no second one can be asked for; it is shown until it is hidden', async () => {
  const done = at('key-form').listeners.get('submit')({ preventDefault() {} });
  assert.equal(at('key-make').disabled, true);
  made[0]('crk_1');
  await done;
  assert.equal(at('key-make').disabled, false);
  assert.deepEqual([at('made-key-text').textContent, at('made-key').hidden], ['crk_1', false]);
  hideKey();
  assert.deepEqual([at('made-key-text').textContent, at('made-key').hidden], ['', true]);
});

test('without a clipboard its user is told to copy the key', async () => {
  await at('made-key-copy').listeners.get('click')();
  assert.match(at('status').textContent, /select the key/);
});
