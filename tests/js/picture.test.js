import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toBase64 } from '../../static/core/bytes.js';
import { MAX_BYTES, drawnSize, measure, parsePicture } from '../../static/core/picture.js';

const bytes = (...parts) => Uint8Array.from(parts.flatMap((part) => (typeof part === 'string' ? [...part].map((c) => c.charCodeAt(0)) : part)));
const u32 = (value) => [value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255];
const png = (width, height) => bytes([0x89], 'PNG\r\n\u001a\n', u32(13), 'IHDR', u32(width), u32(height), [8, 2, 0, 0, 0]);
const jpeg = (...segments) => bytes([0xff, 0xd8], ...segments);
const frame = (width, height, marker = 0xc2) => [0xff, marker, 0, 11, 8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0];
const gif = (screen, offset, size) => bytes('GIF89a', ...[screen[0], screen[1]].map((n) => [n & 255, n >> 8]), [0x80, 0, 0], [1, 2, 3, 4, 5, 6],
  [0x21, 0xf9, 4, 0, 0, 0, 0, 0], [0x2c], ...[...offset, ...size].map((n) => [n & 255, n >> 8]), [0]);

test('an inline picture is read, with what was asked for', () => {
  const data = toBase64(png(2, 3));
  const picture = parsePicture(`File=name=YQ==;size=29;inline=1;width=50%;height=7;preserveAspectRatio=0:${data}`);
  assert.deepEqual({ ...picture, bytes: [...picture.bytes] }, { width: '50%', height: '7', ratio: false, bytes: [...png(2, 3)] });
  assert.equal(parsePicture(`File=inline=1:${data}`).width, 'auto', 'the size in bytes may be missing');
});

test('what is no picture is left alone, what is wrong is refused with the reason', () => {
  assert.equal(parsePicture('SetMark'), null);
  assert.equal(parsePicture(`File=inline=0:${toBase64(png(1, 1))}`), null);
  for (const [data, why] of [
    ['File=inline=1', /header/], [`File=${'x'.repeat(5000)};inline=1:AAAA`, /header/], ['File=inline=1:*', /base64/],
    ['File=inline=1;width=9e9:AAAA', /size/], ['File=inline=1;height=-1:AAAA', /size/], ['File=inline=1;width=99999999px:AAAA', /size/],
    [`File=inline=1:${'A'.repeat(MAX_BYTES * 4 / 3 + 8)}`, /large/],
  ]) assert.match(parsePicture(data).refused, why);
});

test('the decoder’s size is known before it decodes', () => {
  assert.deepEqual(measure(png(640, 480)), { mime: 'image/png', width: 640, height: 480 });
  assert.deepEqual(measure(png(0x7fffffff, 9)), { mime: 'image/png', width: 0x7fffffff, height: 9 });
  const hidden = [0xff, 0xe1, 0, 15, ...frame(1, 1)]; // a small size within what a decoder skips
  assert.deepEqual(measure(jpeg(hidden, [0xff, 0xff], frame(60_000, 50_000, 0xc1).slice(1))), { mime: 'image/jpeg', width: 60_000, height: 50_000 });
  assert.deepEqual(measure(gif([4, 4], [0, 0], [9000, 8000])), { mime: 'image/gif', width: 9000, height: 8000 });
  assert.deepEqual(measure(gif([40, 30], [1, 1], [2, 2])), { mime: 'image/gif', width: 40, height: 30 });
});

test('whatever is cut off or mixed up is no picture, and is read to its end only', () => {
  for (const whole of [png(3, 3), jpeg(frame(3, 3)), gif([3, 3], [0, 0], [3, 3])]) {
    for (let length = 0; length < whole.length; length += 1) measure(whole.subarray(0, length));
    assert.equal(measure(whole.subarray(0, 10)), null);
    for (let at = 0; at < whole.length * 255; at += 1) {
      const other = Uint8Array.from(whole);
      other[at % whole.length] = Math.floor(at / whole.length);
      measure(other); // neither raises nor loops
    }
  }
  assert.equal(measure(bytes('<svg xmlns="http://www.w3.org/2000/svg"/>')), null);
});

test('a picture fits the screen, and no request makes it wider or endless', () => {
  const screen = { width: 800, height: 480, cell: { width: 8, height: 16 } };
  const drawn = (width, height, natural, ratio = true) => {
    const size = drawnSize({ width, height, ratio }, natural, screen);
    return [size.width, size.height];
  };
  assert.deepEqual(drawn('auto', 'auto', { width: 640, height: 400 }), [640, 400]);
  assert.deepEqual(drawn('auto', 'auto', { width: 1600, height: 400 }), [800, 200]);
  assert.deepEqual(drawn('auto', 'auto', { width: 640, height: 928 }), [320, 464]);
  assert.deepEqual(drawn('50%', 'auto', { width: 100, height: 50 }), [400, 200]);
  assert.deepEqual(drawn('auto', '10', { width: 100, height: 50 }), [320, 160]);
  assert.deepEqual(drawn('40px', '40px', { width: 100, height: 50 }), [40, 20]);
  assert.deepEqual(drawn('40px', '40px', { width: 100, height: 50 }, false), [40, 40]);
  assert.deepEqual(drawn('1px', '999999px', { width: 1, height: 1 }, false), [1, 1920]);
  assert.deepEqual(drawn('999999', '999999', { width: 1, height: 1 }), [800, 800]);
  assert.deepEqual(drawn('0', 'auto', { width: 5, height: 5 }), [1, 1]);
});
