// The charts, drawn by uPlot, each with a table of the same figures.
import { el } from '../app/dom.js';
import { UPlot } from '../dist/uplot.js';
import { at, clock, ms } from './page.js';

/** @typedef {{name: string, of: (point: any) => number | null}} Line */
/** @typedef {{title: string, unit: string, lines: Line[] | ((points: any[]) => Line[]), show: (value: number) => string}} Chart */

const count = (/** @type {number} */ value) => String(Math.round(value * 10) / 10);
const times = (/** @type {string} */ kind) => [
  { name: 'median', of: (/** @type {any} */ point) => point[kind].p50 },
  { name: '95%', of: (/** @type {any} */ point) => point[kind].p95 },
];
/** A line for each name in any point, the largest sums first. @returns {(points: any[]) => Line[]} */
const table = (/** @type {string} */ kind, most = 6, told = (/** @type {string} */ name) => name.replaceAll('_', ' ')) => (points) => {
  /** @type {Map<string, number>} */ const sums = new Map();
  for (const point of points) for (const [name, value] of Object.entries(point[kind])) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  const names = [...sums].sort((one, other) => other[1] - one[1]).slice(0, most).map(([name]) => name);
  return names.map((name) => ({ name: told(name), of: (point) => (Object.hasOwn(point[kind], name) ? point[kind][name] : 0) }));
};

/** A line for each of the rooms with the most sessions, and one for all others. @returns {Line[]} */
function rooms(/** @type {any[]} */ points, most = 5) {
  const lines = table('rooms', most, (name) => name)(points);
  const shown = new Set(lines.map((line) => line.name));
  const others = (/** @type {any} */ point) => Object.entries(point.rooms).reduce((sum, [name, sessions]) => (shown.has(name) ? sum : sum + Number(sessions)), point.other_rooms);
  return points.some((point) => others(point)) ? [...lines, { name: 'other rooms', of: others }] : lines;
}

/** @type {Chart[]} */
const CHARTS = [
  { title: 'Sessions', unit: 'at one time', show: count, lines: [{ name: 'live', of: (point) => point.sessions }, { name: 'waiting', of: (point) => point.waiting }] },
  { title: 'Use by language', unit: 'sessions at one time', show: count, lines: table('live') },
  { title: 'Use by room', unit: 'sessions at one time', show: count, lines: rooms },
  { title: 'Start of a session', unit: 'from its slot', show: ms, lines: times('start') },
  { title: 'First byte of a program', unit: 'from its start', show: ms, lines: times('first_byte') },
  { title: 'Echo of a key', unit: 'at the server', show: ms, lines: times('echo') },
  { title: 'Wait in the queue', unit: 'for a slot', show: ms, lines: times('queue_wait') },
  { title: 'Ends of sessions', unit: 'by reason', show: count, lines: table('ended') },
  { title: 'Programs run', unit: 'by language', show: count, lines: table('runs') },
  { title: 'Openings and resumes', unit: 'how many', show: count, lines: [{ name: 'opened', of: (point) => point.opened }, { name: 'came back', of: (point) => point.resumes }, { name: 'failed', of: (point) => point.failed }] },
];
const COLOURS = ['--accent', '--syn-name', '--warn', '--syn-keyword', '--bad', '--muted'];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [1, 4], [12, 4]]; // so that lines can be distinguished without colours
const HEIGHT = 190;

/** A colour of the style sheet as the canvas takes it. */
function colour(/** @type {string} */ name) {
  const probe = document.body.appendChild(el('span', { hidden: true }));
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** @type {{plot: any, host: HTMLElement}[]} */ let drawn = [];
/** @type {any} */ let last = null;

/** Draws all charts. @param {{step: number, points: any[]}} history @param {number} hours */
export function drawCharts(history, hours) {
  last = { history, hours };
  const open = new Set([...at('charts').querySelectorAll('details[open]')].map((one) => one.parentElement?.dataset.title));
  for (const { plot } of drawn) plot.destroy();
  drawn = [];
  at('charts').replaceChildren(...CHARTS.map((chart) => drawing(chart, history, hours, open.has(chart.title))));
  for (const one of drawn) one.plot.setSize({ width: Math.max(200, one.host.clientWidth), height: HEIGHT });
}

function drawing(/** @type {Chart} */ chart, /** @type {{step: number, points: any[]}} */ { step, points }, /** @type {number} */ hours, /** @type {boolean} */ open) {
  const lines = typeof chart.lines === 'function' ? chart.lines(points) : chart.lines;
  const host = el('div', { className: 'plot', attrs: { role: 'img' } });
  const figure = el('div', { className: 'chart', attrs: { 'data-title': chart.title } }, el('h3', {}, chart.title, ' ', el('span', { className: 'hint', textContent: chart.unit })), host);
  const [xs, columns] = withGaps(points, step, lines);
  host.ariaLabel = `${chart.title}: ${lines.map((line, index) => `${line.name} ${latest(columns[index], chart.show)}`).join(', ') || 'nothing yet'}`;
  const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 }, font: '11px system-ui' };
  const now = Date.now() / 1000;
  const plot = new UPlot({
    width: 400, height: HEIGHT, legend: { live: true }, cursor: { drag: { x: false, y: false } },
    scales: { x: { time: true, range: () => [now - hours * 3600, now] }, y: { range: (_self, _low, high) => [0, Math.max(high ?? 0, 1) * 1.05] } },
    axes: [{ ...axis, values: (_self, splits) => splits.map((/** @type {number} */ split) => moment(split, hours)) }, { ...axis, size: 58, values: (_self, values) => values.map((value) => chart.show(value)) }],
    series: [{ label: 'at', value: (/** @type {unknown} */ _self, /** @type {number | null} */ value) => (value === null ? '–' : clock(value)) }, ...lines.map((line, index) => ({
      label: line.name, stroke: colour(COLOURS[index]), dash: DASHES[index], width: 1.5, points: { show: points.length < 40 },
      value: (/** @type {unknown} */ _self, /** @type {number | null} */ value) => (value === null ? '–' : chart.show(value)),
    }))],
  }, /** @type {any} */ ([xs, ...columns]), host);
  drawn.push({ plot, host });
  figure.append(asTable(chart, lines, points, open));
  return figure;
}

/** A time on the axis of a chart in the user's locale: the time of day for up to 24 hours, otherwise the date. */
function moment(/** @type {number} */ seconds, /** @type {number} */ hours) {
  const time = new Date(seconds * 1000);
  if (hours <= 24) return time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return time.toLocaleDateString([], { month: 'numeric', day: 'numeric' });
}

/** The columns for uPlot. Times without a server are gaps in the lines. @returns {[number[], (number | null)[][]]} */
function withGaps(/** @type {any[]} */ points, /** @type {number} */ step, /** @type {Line[]} */ lines) {
  /** @type {number[]} */ const xs = [];
  /** @type {(any | null)[]} */ const rows = [];
  for (const point of points) {
    const before = xs.at(-1);
    if (before !== undefined && point.t - before > 2.5 * step) {
      xs.push(before + step);
      rows.push(null);
    }
    xs.push(point.t);
    rows.push(point);
  }
  return [xs, lines.map((line) => rows.map((point) => (point === null ? null : line.of(point))))];
}

const latest = (/** @type {(number | null)[]} */ values, /** @type {(value: number) => string} */ show) => {
  const known = values.filter((value) => value !== null);
  return known.length ? show(/** @type {number} */ (known.at(-1))) : 'nothing yet';
};

function asTable(/** @type {Chart} */ chart, /** @type {Line[]} */ lines, /** @type {any[]} */ points, /** @type {boolean} */ open) {
  const head = el('tr', {}, ...['Time', ...lines.map((line) => line.name)].map((name) => el('th', { textContent: name, attrs: { scope: 'col' } })));
  const body = el('tbody');
  const filled = () => {
    body.replaceChildren(...points.slice(-100).reverse().map((point) => el('tr', {}, el('td', { textContent: clock(point.t) }),
      ...lines.map((line) => {
        const value = line.of(point);
        return el('td', { textContent: value === null ? '–' : chart.show(value) });
      }))));
  };
  const details = el('details', { open }, el('summary', { textContent: 'as a table' }),
    el('div', { className: 'scroll', tabIndex: 0, attrs: { role: 'region', 'aria-label': `${chart.title} as a table` } }, el('table', {}, el('thead', {}, head), body)));
  details.addEventListener('toggle', () => details.open && filled());
  return details;
}

let waiting = 0;
const again = () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => last && at('charts').offsetWidth && drawCharts(last.history, last.hours), 200);
};
addEventListener('resize', again);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
