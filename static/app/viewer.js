// One thing that a program made, large: a picture, a table, a page of no origin, or what is known of it.
import { size } from '../core/ending.js';
import { texts } from '../core/texts.js';
import { $, el } from './dom.js';
import { drawTable } from './table.js';

let shown = null; // {items, at, done}

/** @type {[RegExp, string][]} */
const KINDS = [
  [/^image\//, 'picture'], [/^text\/(csv|tab-separated-values)\b/, 'table'], [/^text\/html\b/, 'page'], [/^application\/pdf\b/, 'document'],
];

/** How a type is shown: `picture`, `table`, `page`, `document`, or `file`. */
export const kindOf = (mime) => KINDS.find(([pattern]) => pattern.test(mime))?.[1] ?? 'file';

/** Its content as an element. What a program wrote is text, a picture, or runs without an origin of ours. */
function content({ path, mime, url, frame: address }) {
  const kind = kindOf(mime);
  if (kind === 'picture') return el('img', { src: url, alt: path });
  if (kind === 'page') {
    const frame = el('iframe', { title: path, attrs: { sandbox: 'allow-scripts', referrerpolicy: 'no-referrer' } });
    address().then((src) => { frame.src = src; }, (error) => {
      frame.replaceWith(el('div', { className: 'nothing' }, el('p', { textContent: texts.artifacts.notShown(error.message) })));
    });
    return frame;
  }
  if (kind === 'table') {
    const box = el('div', { className: 'table-box', tabIndex: 0, textContent: '…', attrs: { role: 'region', 'aria-label': path } });
    drawTable(url).then(({ table, rows, more }) => {
      box.replaceChildren(table, more ? el('p', { className: 'hint', textContent: texts.artifacts.firstRows(rows) }) : '');
    }, (error) => { box.textContent = texts.artifacts.notShown(error.message); });
    return box;
  }
  const words = kind === 'document' ? texts.artifacts.document : texts.artifacts.nothing;
  return el('div', { className: 'nothing' }, el('p', { textContent: words }));
}

function draw() {
  const { items, at } = shown;
  const item = items[at];
  $('viewer-title').textContent = item.path;
  $('viewer-size').textContent = size(item.size);
  $('viewer-body').replaceChildren(content(item));
  $('viewer-body').dataset.kind = kindOf(item.mime);
  $('viewer-open').hidden = item.url === null || kindOf(item.mime) === 'file';
  if (item.url !== null) $('viewer-open').href = item.url;
  $('viewer-previous').hidden = $('viewer-next').hidden = items.length < 2;
}

function step(by) {
  shown.at = (shown.at + by + shown.items.length) % shown.items.length;
  draw();
}

export function setUpViewer() {
  const dialog = $('viewer');
  $('viewer-previous').addEventListener('click', () => step(-1));
  $('viewer-next').addEventListener('click', () => step(1));
  $('viewer-save').addEventListener('click', () => shown.items[shown.at].save());
  $('viewer-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  dialog.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || shown.items.length < 2 || event.target.closest('.table-box')) return;
    event.preventDefault();
    step(by);
  });
  dialog.addEventListener('close', () => {
    $('viewer-body').replaceChildren(); // a page stops running
    shown?.done?.();
    shown = null;
  });
}

/** The address of the artifact that is shown, as it was told; null where none is. */
export const shownUrl = () => shown?.items[shown.at].told ?? null;

/** @param {any[]} items path, mime, size, url, frame() (a promise of a page's address), save() @param {number} [at] @param {(() => unknown) | null} [done] called when it is closed */
export function view(items, at = 0, done = null) {
  shown = { items, at, done };
  draw();
  if (!$('viewer').open) $('viewer').showModal();
  $('viewer-close').focus({ focusVisible: false });
}
