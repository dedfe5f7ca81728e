// The operator's page: signing in and out, choosing a section, and refreshing the section that is shown.
import '../app/policy.js'; // before any library makes a style
import { world } from '../app/browser.js';
import { el } from '../app/dom.js';
import { bearer, credential, forgetKey, keepKey } from '../app/key.js';
import { byCookie, signInAtProvider, signInFailure, signOut } from '../app/sign-in.js';
import { ask, Refusal, save } from './api.js';
import { drawCharts } from './charts.js';
import { drawKeys, hideKey, setUpKeys } from './keys.js';
import { drawImages, drawLoadTests, drawLog, drawQueue, drawSettings, setUpLists } from './lists.js';
import { age, at, bytes, problem, question, setUpTables, tiles } from './page.js';
import { drawSessions } from './sessions.js';

const CHARTS_MS = 30_000;
let charted = 0;

/** Sections by their ids, with what fills them and how often (milliseconds). @type {Record<string, [() => Promise<unknown>, number]>} */
const SECTIONS = {
  overview: [drawOverview, 3000],
  sessions: [drawSessions, 2000],
  queue: [drawQueue, 2000],
  keys: [drawKeys, 5000],
  images: [drawImages, 3000],
  log: [drawLog, 2000],
  settings: [drawSettings, 60_000],
  loadtest: [drawLoadTests, 1000],
};

async function drawOverview() {
  const now = await ask('GET', 'overview');
  header(now);
  const { queue } = now;
  at('warnings').replaceChildren(...[...now.reasons, ...now.warnings.filter((/** @type {string} */ one) => !now.reasons.includes(one))].map((text) => el('li', { textContent: text })));
  tiles('tiles', [
    ['State', now.draining ? 'draining' : now.ready ? 'ready' : 'not ready'], ['Sessions', `${queue.active} of ${queue.maxConcurrent}`], ['Waiting', queue.queued],
    ['WebSockets', now.websockets], ['Memory promised', `${bytes(queue.memoryBytes)}${queue.maxMemoryBytes ? ` of ${bytes(queue.maxMemoryBytes)}` : ''}`],
    ['Server’s memory', bytes(now.memory_bytes)], ['Warm containers', now.warm_pool.ready], ['Running for', age(now.uptime_s)],
  ]);
  if (Date.now() - charted < CHARTS_MS) return;
  charted = Date.now();
  const hours = Number(at('hours').value);
  drawCharts(await ask('GET', `history?hours=${hours}`), hours);
}

function header(/** @type {any} */ now) {
  at('server').textContent = `${now.instance}, ${now.version}, ${now.mode}`;
  at('status').textContent = now.draining ? 'Draining: no new sessions are taken.' : '';
  at('drain').hidden = false;
  at('drain').textContent = now.draining ? 'Take sessions again' : 'Drain';
  at('drain').onclick = () => question({
    title: now.draining ? 'Take sessions again' : 'Drain', label: '', ok: 'Yes',
    about: now.draining ? 'New sessions are opened as before.' : 'New sessions, and those that wait, are refused until you take them again or the server starts anew. Live ones go on.',
    act: async () => {
      await ask('PUT', 'draining', { draining: !now.draining });
      header(await ask('GET', 'overview'));
      draw();
    },
  });
}

/** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
let round = 0; // number of the latest draw; results of earlier ones are ignored

async function draw() {
  clearTimeout(timer);
  const mine = round += 1;
  const [act, pause] = SECTIONS[shown()];
  try {
    await act();
    if (mine === round) problem('');
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) {
      if (mine === round) login(bearer() ? 'The key is not valid any more.' : 'The sign-in has ended.');
      return;
    }
    if (mine === round) problem(error instanceof Error ? error.message : String(error));
    if (!(error instanceof Refusal)) console.error(error);
  }
  if (mine === round && !document.hidden) timer = setTimeout(draw, pause);
}

const shown = () => (location.hash.slice(1) in SECTIONS ? location.hash.slice(1) : 'overview');

function turn() {
  const name = shown();
  for (const id of Object.keys(SECTIONS)) at(id).hidden = id !== name;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.getAttribute('href') === `#${name}`) {
      link.setAttribute('aria-current', 'page');
      link.scrollIntoView({ block: 'nearest', inline: 'center' }); // on a phone the sections are wider than the page
    } else link.removeAttribute('aria-current');
  }
  charted = 0;
  draw();
}

function login(/** @type {string} */ why) {
  clearTimeout(timer);
  round += 1; // what is being drawn must neither go on nor ask for a sign-in again, while a key is being typed
  forgetKey();
  hideKey();
  for (const dialog of ['ask', 'watch']) at(dialog).close();
  problem(why);
  at('room').hidden = at('drain').hidden = at('leave').hidden = true;
  at('login').hidden = false;
  at('key').value = '';
  at('key').focus();
  offer();
}

/** Shows the ways to sign in and out. If the server does not answer, only the field for a key. */
async function offer() {
  const who = await world.fetch(world.api('api/identity'), { headers: credential(), cache: 'no-store' }).then((answer) => answer.json(), () => null);
  at('provider').hidden = !who?.ways?.includes('oidc');
  const signedIn = !bearer() && byCookie(who);
  at('leave').hidden = !bearer() && !signedIn;
  at('leave').textContent = signedIn ? `Sign out (${who.name})` : 'Forget the key';
}

async function enter(failed = '') {
  clearTimeout(timer);
  try {
    header(await ask('GET', 'overview'));
  } catch (error) {
    const status = error instanceof Refusal ? error.status : null;
    if (status === 401 || status === 403) login(bearer() || status === 403 ? 'That is not an operator’s key or sign-in.' : failed);
    else {
      problem(error instanceof Error ? error.message : String(error));
      timer = setTimeout(() => enter(failed), 3000);
    }
    return;
  }
  problem('');
  at('login').hidden = true;
  at('room').hidden = false;
  offer();
  turn();
}

at('login').addEventListener('submit', (/** @type {Event} */ event) => {
  event.preventDefault();
  keepKey(at('key').value.trim());
  enter();
});
at('provider').addEventListener('click', signInAtProvider);
at('leave').addEventListener('click', async () => {
  login(bearer() || await signOut() ? '' : 'The server did not take the sign-out. You are still signed in.');
});
at('hours').addEventListener('change', () => {
  charted = 0;
  draw();
});
at('report').addEventListener('click', () => save(`report?days=${at('days').value}`, 'coderunner-report.csv').catch((error) => problem(error.message)));
addEventListener('hashchange', () => !at('room').hidden && turn());
document.addEventListener('visibilitychange', () => !document.hidden && !at('room').hidden && draw());
setUpTables();
setUpLists();
setUpKeys();
document.body.dataset.ready = '';
const failure = signInFailure();
enter(failure ? `${failure.title} ${failure.detail}`.trim() : '');
