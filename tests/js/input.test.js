// What goes to a program: kept until it arrived, and cheap however small the pieces are.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRAME, Input, WINDOW } from '../../static/core/input.js';
import { now, work } from './work.js';
import { joinBytes, utf8 } from '../../static/core/bytes.js';

test('answers to a flood of questions cost no more than their bytes', () => {
  const input = new Input();
  const sent = [];
  const answer = utf8('\u001b[1;1R');
  const began = now();
  const count = 200_000;
  for (let number = 0; number < count; number += 1) {
    input.push(answer);
    input.pump((offset, payload) => sent.push({ offset, payload }));
  }
  while (input.acked < input.end) {
    input.ack(input.sent);
    input.pump((offset, payload) => sent.push({ offset, payload: payload.slice() }));
  }
  const took = now() - began;
  assert.ok(took < 100 * work(), `${took} ms`);
  const whole = joinBytes(sent.map(({ payload }) => payload));
  assert.equal(whole.length, count * answer.length);
  assert.ok(sent.every(({ payload }) => payload.length <= FRAME));
});

test('what was sent stays as it was, whatever is typed behind it', () => {
  const input = new Input();
  const frames = [];
  const send = (offset, payload) => frames.push({ offset, payload });
  for (const key of 'hello world') {
    input.push(utf8(key));
    input.pump(send);
  }
  assert.deepEqual(frames.map(({ offset }) => offset), [...'hello world'].map((_, at) => at));
  assert.equal(Buffer.from(joinBytes(frames.map(({ payload }) => payload))).toString(), 'hello world');
  input.ack(3);
  input.rewind(3);
  frames.length = 0;
  input.pump(send);
  assert.equal(Buffer.from(joinBytes(frames.map(({ payload }) => payload))).toString(), 'lo world');
  const { offset, bytes } = input.unacked();
  assert.deepEqual([offset, Buffer.from(bytes).toString()], [3, 'lo world']);
  assert.ok(input.push(new Uint8Array(WINDOW)));
  assert.equal(input.end, 11 + WINDOW);
});
