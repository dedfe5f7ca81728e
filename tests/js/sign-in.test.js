// The way back from the provider, and signing out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { texts } from '../../static/core/texts.js';

const place = { href: 'https://here.example/admin?lang=en#keys' };
let answer = () => Promise.resolve({ ok: true });
const asked = [];
globalThis.document = { documentElement: { dataset: {} }, baseURI: 'https://here.example/' };
globalThis.location = place;
globalThis.history = { state: null, replaceState: (_state, _title, url) => { place.href = String(url); } };
globalThis.fetch = (url, { method }) => {
  asked.push(`${method} ${url}`);
  return answer();
};
const { byCookie, signInFailure, signOut } = await import('../../static/app/sign-in.js');

test('what has failed is told once, and leaves the address', () => {
  assert.equal(signInFailure(), null);
  place.href = 'https://here.example/admin?lang=en&sign-in=identity_unavailable#keys';
  assert.deepEqual(signInFailure(), { title: texts.identity.failed, detail: texts.errors.identity_unavailable });
  assert.ok(texts.errors.identity_unavailable);
  assert.equal(place.href, 'https://here.example/admin?lang=en#keys');
  assert.equal(signInFailure(), null);
  for (const code of ['unauthenticated', 'not_allowed']) {
    place.href = `https://here.example/?sign-in=${code}`;
    assert.equal(signInFailure().detail, texts.identity.failedOf[code], 'and not that somebody has to sign in first');
  }
  for (const code of ['constructor', '__proto__', '<b>', '']) {
    place.href = `https://here.example/?sign-in=${code}`;
    assert.deepEqual(signInFailure(), { title: texts.identity.failed, detail: '' });
  }
});

test('whoever came by a provider or a course signs out at the server, and is told if that failed', async () => {
  assert.deepEqual(['oidc', 'lti', 'api_key', 'proxy', 'none'].map((how) => byCookie({ how })), [true, true, false, false, false]);
  assert.equal(byCookie(null), false);
  assert.equal(await signOut(), true);
  assert.deepEqual(asked, ['POST https://here.example/auth/logout']);
  answer = () => Promise.resolve({ ok: false });
  assert.equal(await signOut(), false);
  answer = () => Promise.reject(new TypeError('network'));
  assert.equal(await signOut(), false);
});
