// The sections that are lists: queue and pools, images, log, settings, load tests.
import { el } from '../app/dom.js';
import { ask } from './api.js';
import { age, at, bytes, clock, fill, ms, problem, question, tiles } from './page.js';
import { latest } from './rows.js';

const told = (/** @type {unknown} */ error) => problem(error instanceof Error ? error.message : String(error));

export async function drawQueue() {
  const now = await ask('GET', 'overview');
  at('no-waiters').hidden = now.waiting.length > 0;
  fill('waiter-rows', now.waiting.map((/** @type {any} */ one) => ({ key: `${one.position}`, cells: [
    String(one.position), one.owner ?? one.address, one.language, bytes(one.memory_bytes), age(one.waited_s), age(one.gives_up_s),
  ] })));
  const pool = now.worker_pool;
  tiles('workers', [['Busy', `${pool.activeWorkers} of ${pool.totalWorkers}`], ['Tasks that wait', pool.queuedTasks], ['Done', pool.completedTasks], ['Failed', pool.failedTasks], ['A task takes', ms(pool.averageTaskTime)]]);
  fill('warm-rows', Object.entries(now.warm_pool.languages).map(([name, one]) => ({ key: name, cells: [
    name, ...['ready', 'starting', 'target', 'hits', 'misses'].map((field) => String(/** @type {any} */ (one)[field])),
  ] })));
  const engine = now.engine;
  tiles('engine', engine ? [['Version', engine.version], ['API', engine.api_version], ['Kernel', engine.kernel], ['System', engine.operating_system], ['Runtime', engine.default_runtime], ['cgroup', `v${engine.cgroup_version}`], ['Processors', engine.cpus], ['Memory', bytes(engine.memory_bytes)], ['Folder', engine.root]] : [['State', 'does not answer']]);
}

// --- images ---------------------------------------------------------------------------------------------

const WORDS = /** @type {Record<string, string>} */ ({ build: 'Build what is missing', renew: 'Renew with security updates', prune: 'Remove images that no server uses' });

export async function drawImages() {
  const { images, jobs } = await ask('GET', 'images');
  fill('image-rows', images.map((/** @type {any} */ one) => ({ key: one.language, cells: [
    one.language, one.message ? { text: one.status, small: one.message, wide: true } : one.status, one.built ? new Date(one.built).toLocaleString() : 'missing', { text: one.reference, code: true },
    { buttons: one.built ? [] : [{ label: 'Build', about: `Build ${one.language}`, act: () => start('build', [one.language]) }] },
  ] })));
  cards('jobs', jobs, (/** @type {any} */ job) => [
    el('strong', { textContent: `${job.action} ${job.languages.join(', ')}: ${job.state}` }), el('span', { className: 'hint', textContent: ` ${clock(job.began)}` }),
    job.state === 'running' ? el('button', { type: 'button', className: 'text-button', textContent: 'Cancel', on: { click: () => ask('DELETE', `images/${job.id}`).then(drawImages, told) } }) : null,
    job.lines.length ? el('pre', { textContent: job.lines.join('\n'), tabIndex: 0 }) : null,
  ]);
}

const start = (/** @type {string} */ action, /** @type {string[]} */ languages = []) => question({
  title: WORDS[action], about: languages.length ? `Of ${languages.join(', ')}.` : 'Of all languages of this server.', label: '', ok: 'Start',
  act: async () => {
    await ask('POST', 'images', { action, languages });
    await drawImages();
  },
});

/** Fills a list with cards; a card is made again only if its content has changed. @param {string} id @param {any[]} items @param {(item: any) => (Node | null)[]} make */
function cards(id, items, make) {
  const host = at(id);
  const before = new Map([...host.children].map((card) => [card.dataset.key, card]));
  host.replaceChildren(...items.map((item) => {
    const text = JSON.stringify(item);
    const old = before.get(item.id);
    if (old?.dataset.shown === text) return old;
    const card = el('div', { className: 'card' }, ...make(item));
    card.dataset.key = item.id;
    card.dataset.shown = text;
    return card;
  }));
}

// --- log ------------------------------------------------------------------------------------------------

const asked = () => new URLSearchParams({ level: at('log-level').value, text: at('log-text').value, limit: '500' });

export const drawLog = async () => (at('log-follow').checked || !at('log-rows').children.length) && askLog();

const askLog = latest(() => ask('GET', `log?${asked()}`), ({ records, last, dropped }) => {
  const box = at('log-rows').closest('.scroll');
  const below = box.scrollTop + box.clientHeight >= box.scrollHeight - 40;
  fill('log-rows', records.map((/** @type {any} */ one) => ({ key: String(one.number), level: one.level, cells: [
    new Date(one.ts).toLocaleTimeString(), one.level, { text: one.msg, small: one.fields, wide: true },
  ] })));
  at('log-about').textContent = `${records.length} of ${last - dropped} records that are kept${dropped ? `; ${dropped} older ones are only in the log itself` : ''}.`;
  if (below) box.scrollTop = box.scrollHeight;
});

// --- settings -------------------------------------------------------------------------------------------

/** @type {any[]} */ let known = [];

export async function drawSettings() {
  ({ settings: known } = await ask('GET', 'settings')); // each time: the server may have started anew
  showSettings();
}

function showSettings() {
  const wanted = at('settings-filter').value.trim().toLowerCase();
  const shown = known.filter((one) => `${one.name} ${one.value} ${one.help}`.toLowerCase().includes(wanted));
  fill('setting-rows', shown.map((one) => ({ key: one.name, cells: [
    { text: one.name, code: true }, { text: one.value, code: true, wide: true }, { text: one.value === one.default ? '' : one.default, code: true, wide: true }, { text: one.help, wide: true },
  ] })));
}

// --- load tests -----------------------------------------------------------------------------------------

export async function drawLoadTests() {
  const { tests } = await ask('GET', 'load-tests');
  const choice = at('load-language');
  if (!choice.children.length) {
    const { images } = await ask('GET', 'images');
    choice.replaceChildren(...images.map((/** @type {any} */ { language }) => el('option', { textContent: language, selected: language === 'python' })));
  }
  cards('load-tests', tests, (/** @type {any} */ test) => {
    const made = test.figures;
    const state = test.state === 'running' && made.waiting ? `running, ${made.waiting} of ${test.sessions} wait for places` : test.state;
    const errors = Object.entries(made.errors).map(([kind, times]) => `${kind}: ${times}`).join(', ');
    return [
      el('strong', { textContent: `${test.sessions} sessions for ${test.seconds} s, ${test.language}: ${state}` }), el('span', { className: 'hint', textContent: ` ${clock(test.began)}` }),
      test.state === 'running' ? el('button', { type: 'button', className: 'text-button', textContent: 'Cancel', on: { click: () => ask('DELETE', `load-tests/${test.id}`).then(drawLoadTests, told) } }) : null,
      test.state === 'running' ? el('progress', { max: 1, value: test.progress, attrs: { 'aria-label': 'Progress' } }) : null,
      el('p', { textContent: `${made.sessions} sessions, ${made.runs} runs, ${made.keys} keys. Median and 95%: open ${pair(made.open)}, first byte ${pair(made.first_byte)}, echo ${pair(made.echo)}.` }),
      test.message || errors ? el('p', { className: 'problem', textContent: [test.message, errors].filter(Boolean).join('; ') }) : null,
    ];
  });
}

const pair = (/** @type {{p50: number | null, p95: number | null}} */ { p50, p95 }) => (p50 === null ? '–' : `${ms(p50)} and ${ms(p95)}`);

export function setUpLists() {
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-images]'))) {
    button.addEventListener('click', () => start(button.dataset.images ?? ''));
  }
  for (const id of ['log-level', 'log-text', 'log-follow']) {
    at(id).addEventListener('input', () => {
      at('log-rows').replaceChildren();
      drawLog().catch(told);
    });
  }
  at('log-form').addEventListener('submit', (/** @type {Event} */ event) => event.preventDefault());
  at('settings-filter').addEventListener('input', showSettings);
  at('load-form').addEventListener('submit', async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      await ask('POST', 'load-tests', { sessions: Number(at('load-sessions').value), seconds: Number(at('load-seconds').value), language: at('load-language').value });
      problem('');
      await drawLoadTests();
    } catch (error) {
      told(error);
    }
  });
}
