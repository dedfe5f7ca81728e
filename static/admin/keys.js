// API keys, made and revoked; the quotas of each role, and what callers have used of them.
import { ask } from './api.js';
import { age, at, bytes, clock, fill, problem, question } from './page.js';
import { latest } from './rows.js';

const SCOPES = /** @type {Record<string, string>} */ ({ session: 'sessions', run: 'runs and batches', metrics: 'metrics', operate: 'operating' });
const some = (/** @type {number} */ value, /** @type {(value: number) => string} */ show = String) => (value ? show(value) : 'unlimited');

export const drawKeys = latest(() => Promise.all([ask('GET', 'keys'), ask('GET', 'quotas')]), ([{ keys }, { roles, used }]) => {
  at('no-keys').hidden = keys.length > 0;
  // Valid keys first, then by age, the newest first.
  const order = [...keys].sort((one, other) => Number(other.state === 'good') - Number(one.state === 'good') || other.created - one.created);
  fill('key-rows', order.map((/** @type {any} */ one) => ({ key: one.id, by: { 3: one.created, 4: one.expires ?? Infinity, 5: one.last_used }, cells: [
    { text: one.name, wide: true }, one.state, { text: may(one), wide: true }, clock(one.created), one.expires === null ? 'never' : clock(one.expires),
    one.last_used === null ? '–' : clock(one.last_used), { text: one.id, code: true },
    { buttons: one.state === 'good' ? [{ label: 'Revoke', about: `Revoke ${one.name}`, act: () => revoke(one) }] : [] },
  ] })));
  fill('quota-rows', roles.map((/** @type {any} */ one) => ({ key: one.role, cells: [
    one.role === 'anonymous' ? 'without a key' : one.role, some(one.sessions), some(one.runs_per_minute), some(one.cpu_seconds_per_day, age),
    some(one.output_bytes_per_day, bytes), one.memory_bytes ? bytes(one.memory_bytes) : 'as the server allows',
    { text: one.languages.join(', ') || 'all', wide: true }, [one.groups ? '' : 'groups', one.background ? '' : 'background work'].filter(Boolean).join(', ') || '–',
  ] })));
  at('no-used').hidden = used.length > 0;
  fill('used-rows', used.map((/** @type {any} */ one) => ({ key: one.caller, by: { 2: one.cpu_ms, 3: one.output_bytes }, cells: [
    { text: one.caller.replace(/^(principal|address):/, ''), wide: true }, String(one.runs), age(one.cpu_ms / 1000), bytes(one.output_bytes),
  ] })));
});

function may(/** @type {any} */ key) {
  const rooms = key.rooms.length ? ` of ${key.rooms.join(', ')}` : '';
  const only = key.scopes ? `, only ${key.scopes.map((/** @type {string} */ one) => SCOPES[one]).join(', ')}` : '';
  return `${key.roles.includes('operator') ? 'operator' : key.roles.includes('teacher') ? 'teacher' : 'user'}${rooms}${only}`;
}

const revoke = (/** @type {any} */ key) => question({
  title: 'Revoke this key', about: `${key.name}: it opens nothing any more, and its connections are closed. This cannot be undone.`, label: '', ok: 'Revoke it',
  act: async () => {
    await ask('DELETE', `keys/${key.id}`);
    await drawKeys();
  },
});

/** A key is not to stay on a screen that nobody looks at, or that somebody else is about to. */
export function hideKey() {
  at('made-key').hidden = true;
  at('made-key-text').textContent = '';
}

export function setUpKeys() {
  at('key-form').addEventListener('submit', async (/** @type {Event} */ event) => {
    event.preventDefault();
    const words = (/** @type {string} */ id) => at(id).value.trim().split(/[\s,]+/).filter(Boolean);
    at('key-make').disabled = true; // a second key would be shown in place of the first, which nobody has seen
    try {
      const made = await ask('POST', 'keys', {
        name: at('key-name').value.trim(), roles: words('key-role'), rooms: words('key-rooms'), scopes: words('key-scope'), days: at('key-days').value ? Number(at('key-days').value) : null,
      });
      problem('');
      at('key-form').reset();
      at('made-key-text').textContent = made.key;
      at('made-key').hidden = false;
      await drawKeys();
    } catch (error) {
      problem(error instanceof Error ? error.message : String(error));
    } finally {
      at('key-make').disabled = false;
    }
  });
  at('made-key-copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(at('made-key-text').textContent);
      at('status').textContent = 'The key is in the clipboard.';
    } catch { // without HTTPS there is none
      at('status').textContent = 'The browser gives this page no clipboard: select the key, and copy it.';
    }
  });
  at('made-key-hide').addEventListener('click', hideKey);
  addEventListener('hashchange', hideKey);
}
