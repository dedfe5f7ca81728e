// One file that a program made, large: a picture, a table, a page without an origin, or facts about it.
import { anyText } from '../core/bytes.js';
import { size } from '../core/ending.js';
import { messageOf } from '../core/faults.js';
import { texts } from '../core/texts.js';
import { $, el, focusQuietly, targetOf } from './dom.js';
import { drawTable } from './table.js';

/**
 * What can be displayed.
 * @typedef {{path: string, mime: string, size: number, url: string | null, told?: string, frame?(): Promise<string>, head?(): Promise<Uint8Array>, save(): unknown}} Item
 *   `told`: the address as the server sent it; `frame`: the address for a frame; `head`: its first MAX_HEAD bytes
 */
/** @type {{items: Item[], at: number, done: (() => unknown) | null} | null} */ let shown = null;

/** @typedef {'picture' | 'table' | 'page' | 'document' | 'file'} Kind */
/** @type {[RegExp, Kind][]} */
const KINDS = [
  [/^image\//, 'picture'], [/^text\/(csv|tab-separated-values)\b/, 'table'], [/^text\/html\b/, 'page'], [/^application\/pdf\b/, 'document'],
];

/** How a type is displayed. */
export const kindOf = (/** @type {string} */ mime) => KINDS.find(([pattern]) => pattern.test(mime))?.[1] ?? 'file';

export const MAX_HEAD = 256 * 1024; // bytes of a text that are shown

/** A text that the editor does not open: its beginning. */
function drawText(/** @type {HTMLElement} */ box, /** @type {Item} */ { path, size: bytes }, /** @type {() => Promise<Uint8Array<ArrayBufferLike>>} */ head) {
  const nothing = (/** @type {string} */ words) => box.replaceChildren(el('p', { textContent: words }));
  head().then((start) => {
    const whole = start.length >= bytes;
    const found = anyText(start, whole && start.length < MAX_HEAD); // it may have grown since it was listed
    if (!found) return nothing(texts.artifacts.nothing);
    const words = whole ? texts.artifacts.text(found.encoding) : texts.artifacts.textHead(found.encoding, size(start.length));
    box.className = 'text-box';
    return box.replaceChildren(
      el('p', { className: 'hint', textContent: words }),
      el('pre', { textContent: found.text, tabIndex: 0, attrs: { role: 'region', 'aria-label': path } }),
    );
  }, (error) => nothing(texts.artifacts.notShown(messageOf(error))));
}

/** The content as an element. A program's file is shown as text or picture, or runs in a frame without this page's origin. */
function content(/** @type {Item} */ item) {
  const { path, mime, url, frame: address, head } = item;
  const kind = kindOf(mime);
  if (kind === 'picture' && url) return el('img', { src: url, alt: path });
  if (kind === 'page' && address) {
    // The sandbox gives the page an opaque origin, from which it can access nothing of this page.
    const frame = el('iframe', { title: path, attrs: { sandbox: 'allow-scripts', referrerpolicy: 'no-referrer' } });
    address().then((src) => { frame.src = src; }, (error) => {
      frame.replaceWith(el('div', { className: 'nothing' }, el('p', { textContent: texts.artifacts.notShown(messageOf(error)) })));
    });
    return frame;
  }
  if (kind === 'table' && url) {
    const box = el('div', { className: 'table-box', tabIndex: 0, textContent: '…', attrs: { role: 'region', 'aria-label': path } });
    drawTable(url).then(({ table, rows, more }) => {
      box.replaceChildren(table, more ? el('p', { className: 'hint', textContent: texts.artifacts.firstRows(rows) }) : '');
    }, (error) => { box.textContent = texts.artifacts.notShown(messageOf(error)); });
    return box;
  }
  if (kind === 'file' && head) {
    const box = el('div', { className: 'nothing' });
    drawText(box, item, head);
    return box;
  }
  const words = kind === 'document' ? texts.artifacts.document : texts.artifacts.nothing;
  return el('div', { className: 'nothing' }, el('p', { textContent: words }));
}

function draw() {
  if (!shown) return;
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

function step(/** @type {1 | -1} */ by) {
  if (!shown) return;
  shown.at = (shown.at + by + shown.items.length) % shown.items.length;
  draw();
}

export function setUpViewer() {
  const dialog = $('viewer');
  $('viewer-previous').addEventListener('click', () => step(-1));
  $('viewer-next').addEventListener('click', () => step(1));
  $('viewer-save').addEventListener('click', () => shown?.items[shown.at].save());
  $('viewer-close').addEventListener('click', () => dialog.close());
  // A click on the backdrop.
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  dialog.addEventListener('keydown', (event) => {
    const by = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : null;
    // In a table the arrows scroll.
    if (!by || !shown || shown.items.length < 2 || targetOf(event).closest('.table-box')) return;
    event.preventDefault();
    step(by);
  });
  dialog.addEventListener('close', () => {
    $('viewer-body').replaceChildren(); // a page stops running
    shown?.done?.();
    shown = null;
  });
}

/** The address of the file that is shown, as the server sent it; null if none is. */
export const shownUrl = () => shown?.items[shown.at].told ?? null;

/** @param {Item[]} items @param {number} [at] @param {(() => unknown) | null} [done] called when it is closed */
export function view(items, at = 0, done = null) {
  shown = { items, at, done };
  draw();
  if (!$('viewer').open) $('viewer').showModal();
  focusQuietly($('viewer-close'));
}
