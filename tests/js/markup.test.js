// The page's code and its markup name the same elements.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

const read = (path) => readFileSync(new URL(`../../static/${path}`, import.meta.url), 'utf8');

test('every element that the code asks for by its name is in the markup, once', () => {
  const ids = [...read('index.html').matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length);
  const asked = readdirSync(new URL('../../static/app/', import.meta.url)).filter((name) => name.endsWith('.js'))
    .flatMap((name) => [...read(`app/${name}`).matchAll(/\$\('([\w-]+)'\)/g)].map(([, id]) => `${name}: ${id}`));
  assert.ok(asked.length > 100);
  assert.deepEqual(asked.filter((one) => !ids.includes(one.split(': ')[1])), []);
});

test('so it is with the wall of a room', () => {
  const ids = [...read('room/index.html').matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length);
  const asked = readdirSync(new URL('../../static/room/', import.meta.url)).filter((name) => name.endsWith('.js'))
    .flatMap((name) => [...read(`room/${name}`).matchAll(/\bat\('([\w-]+)'\)/g)].map(([, id]) => id));
  assert.ok(asked.length > 30);
  assert.deepEqual(asked.filter((id) => !ids.includes(id)), []);
});

test('and with the operator’s page', () => {
  const ids = [...read('admin/index.html').matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length);
  const sources = readdirSync(new URL('../../static/admin/', import.meta.url)).filter((name) => name.endsWith('.js')).map((name) => read(`admin/${name}`));
  const asked = sources.flatMap((text) => [...text.matchAll(/\b(?:at|fill|tiles|cards)\('([\w-]+)'/g)].map(([, id]) => id));
  const filtered = [...read('admin/index.html').matchAll(/data-rows="([^"]+)"/g)].flatMap(([, id]) => [id, `${id}-none`]);
  assert.ok(asked.length > 60 && filtered.length === 6);
  assert.deepEqual([...asked, ...filtered].filter((id) => !ids.includes(id)), []);
});

test('the types of the elements that the code asks for are those of the markup', () => {
  const kinds = { Buttons: 'button', Inputs: 'input', Forms: 'form', Dialogs: 'dialog', Selects: 'select' };
  const types = read('app/elements.js');
  const tags = new Map([...read('index.html').matchAll(/<(\w+)\b[^>]*?\bid="([^"]+)"/g)].map(([, tag, id]) => [id, tag]));
  for (const [name, tag] of Object.entries(kinds)) {
    const named = [...types.match(new RegExp(`\\{([^{}]*)\\} ${name} \\*/`))[1].matchAll(/'([\w-]+)'/g)].map(([, id]) => id).sort();
    assert.deepEqual(named, [...tags].filter(([, one]) => one === tag).map(([id]) => id).sort(), name);
  }
  assert.deepEqual([tags.get('env'), tags.get('viewer-open')], ['textarea', 'a']);
});

test('icons that are used are drawn', () => {
  const drawn = new Set([...read('index.html').matchAll(/<symbol id="i-([\w-]+)"/g)].map(([, name]) => name));
  const used = [...read('index.html').matchAll(/href="#i-([\w-]+)"/g)].map(([, name]) => name);
  for (const name of readdirSync(new URL('../../static/app/', import.meta.url)).filter((one) => one.endsWith('.js'))) {
    used.push(...[...read(`app/${name}`).matchAll(/\bicon\('([\w-]+)'\)/g)].map(([, icon]) => icon));
  }
  assert.deepEqual(used.filter((name) => !drawn.has(name)), []);
});

test('private fields of libraries are used in one place', () => {
  const wrong = readdirSync(new URL('../../static/app/', import.meta.url)).filter((name) => name.endsWith('.js') && name !== 'inside.js')
    .filter((name) => /[\w)\]]\._[a-z]/.test(read(`app/${name}`)));
  assert.deepEqual(wrong, []);
});
