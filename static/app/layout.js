// Sizes that the user drags, the views of a narrow screen, and the focus that goes with them.
import { $, all, first, narrow } from './dom.js';

/** @typedef {'files' | 'code' | 'program' | 'shell'} View */
/**
 * @typedef {{id: string, name: string, property: string, axis: 'x' | 'y', of(): Element | null, sign: number, least: number, most: number,
 *   relative: boolean}} Handle between two parts of the page; sizes in pixels, or in percent if `relative`
 */

/** @type {Handle[]} */
const HANDLES = [
  { id: 'handle-tree', name: 'tree', property: '--tree-width', axis: 'x', of: () => $('tree').closest('.files'), sign: 1, least: 130, most: 420, relative: false },
  { id: 'handle-right', name: 'right', property: '--right-width', axis: 'x', of: () => document.querySelector('.right'), sign: -1, least: 15, most: 75, relative: true },
  { id: 'handle-shell', name: 'shell', property: '--shell-height', axis: 'y', of: () => $('shell'), sign: -1, least: 12, most: 85, relative: true },
];

/** @type {Record<string, number>} */ const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

export function setUpLayout(/** @type {import('./store.js').Store} */ store) {
  for (const handle of HANDLES) setUpHandle(handle, store);
  const tree = (/** @type {boolean} */ open) => {
    document.body.dataset.tree = open ? 'open' : 'closed';
    $('toggle-tree').setAttribute('aria-pressed', String(open));
    store.set({ treeOpen: open });
  };
  tree(store.settings.treeOpen);
  $('toggle-tree').addEventListener('click', () => tree(document.body.dataset.tree !== 'open'));
}

/** @param {Handle} handle @param {import('./store.js').Store} store */
function setUpHandle({ id, name, property, axis, of, sign, least, most, relative }, store) {
  const element = $(id);
  const set = (/** @type {number} */ value) => {
    const size = Math.min(most, Math.max(least, value));
    // In percent where both parts should keep their share when the window changes.
    document.documentElement.style.setProperty(property, relative ? `${size}%` : `${size}px`);
    element.setAttribute('aria-valuenow', String(Math.round(size)));
    store.set({ sizes: { ...store.settings.sizes, [name]: size } });
  };
  const whole = () => ((axis === 'x' ? first('.desk')?.clientWidth : first('.right')?.clientHeight) ?? 0);
  const now = () => {
    const box = of()?.getBoundingClientRect();
    const pixels = (axis === 'x' ? box?.width : box?.height) ?? 0;
    return relative ? (pixels / whole()) * 100 : pixels;
  };
  element.setAttribute('aria-valuemin', String(least));
  element.setAttribute('aria-valuemax', String(most));
  if (store.settings.sizes[name]) set(store.settings.sizes[name]);
  else element.setAttribute('aria-valuenow', String(Math.round(now()) || least));
  element.addEventListener('mousedown', (event) => event.preventDefault()); // the focus stays where it is
  element.addEventListener('pointerdown', (down) => {
    const from = now();
    const start = axis === 'x' ? down.clientX : down.clientY;
    // The pointer may leave the narrow handle while it is dragged.
    element.setPointerCapture(down.pointerId);
    element.classList.add('dragging');
    document.body.classList.add('dragging');
    // One controller for the listeners of one drag.
    const done = new AbortController();
    element.addEventListener('pointermove', (move) => {
      const moved = (axis === 'x' ? move.clientX : move.clientY) - start;
      set(from + sign * (relative ? (moved / whole()) * 100 : moved));
    }, done);
    const end = () => {
      element.classList.remove('dragging');
      document.body.classList.remove('dragging');
      done.abort();
    };
    element.addEventListener('pointerup', end, done);
    element.addEventListener('pointercancel', end, done);
  });
  element.addEventListener('keydown', (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    set(now() + sign * step * (relative ? 3 : 16));
  });
}

/** Shows one view on a narrow screen; on a wide one all are shown, and the shell's pane opens. */
export function showView(/** @type {View} */ view) {
  document.body.dataset.view = view;
  if (view === 'shell') document.body.dataset.shell = 'open';
  for (const button of all('.views button')) {
    const current = button.dataset.view === view;
    button.setAttribute('aria-current', String(current));
    if (current) delete button.dataset.news;
  }
}

/** A dot on a view that is not shown and has something new. */
export function markNews(/** @type {View} */ view) {
  const button = first(`.views [data-view="${view}"]`);
  if (button && narrow.matches && document.body.dataset.view !== view) button.dataset.news = '';
}
