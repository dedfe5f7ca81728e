// Whether static/app/inside.js is still needed.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

test('the add-on for pictures offers no way to add one that is decoded', async () => {
  const types = await readFile(new URL('../../node_modules/@xterm/addon-image/typings/addon-image.d.ts', import.meta.url), 'utf8');
  const [, body] = types.match(/class ImageAddon[^{]*\{([\s\S]*?)\n {2}\}/) ?? [];
  const members = [...(body ?? '').matchAll(/^ +(?:public +|readonly +)*(\w+)(?=[(:?])/gm)].map(([, name]) => name);
  // Where others are here now: look whether one takes a bitmap; then static/app/inside.js goes.
  assert.deepEqual(members.sort(), [
    'activate', 'constructor', 'dispose', 'extractTileAtBufferCell', 'getImageAtBufferCell', 'reset', 'showPlaceholder', 'storageLimit', 'storageUsage',
  ]);
});
