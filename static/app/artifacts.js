// The files that a program made and that can be displayed, in a strip under its output; the newest first.
import { size } from '../core/ending.js';
import { Kept } from '../core/kept.js';
import { texts } from '../core/texts.js';
import { announce } from './announce.js';
import { world } from './browser.js';
import { $, all, el, focusedIn, icon } from './dom.js';
import { saveUrl } from './save.js';
import { drawTable } from './table.js';
import { kindOf, shownUrl, view } from './viewer.js';

const MAX_SHOWN = 60;
const PREVIEW = { rows: 4, columns: 3 };
const leaf = (/** @type {string} */ url) => url.replace(/^(view\/[^/]*\/)[^/]*/, '$1'); // without the capability, which differs in each message
/** @typedef {import('./viewer.js').Item & {url: string, told: string, version: number, element: HTMLElement | null}} Made a file, its address in the latest message, and its card */

/** @type {Record<import('./viewer.js').Kind, string>} */
const ICONS = { page: 'globe', document: 'file', file: 'file', picture: 'file', table: 'file' };

const focusCard = (/** @type {Made | undefined} */ item) => item?.element?.querySelector('button')?.focus();

export class Artifacts {
  /** @type {Map<string, Made>} */ #items = new Map(); // by path, the newest last
  #version = 0;
  /** @type {Set<number>} */ #drawn = new Set(); // sizes in bytes of pictures that the terminal shows
  // The file that is open in the viewer comes first, then the newest: the server keeps a limited number valid.
  #kept = new Kept(world.timers, () => {
    const told = [...this.#items.values()].map((item) => item.told);
    return [...new Set([shownUrl() ?? [], told.reverse()].flat())];
  });

  constructor(/** @type {import('./store.js').Store} */ store) {
    // A tab in the background is throttled, and may have missed the time of renewal.
    document.addEventListener('visibilitychange', () => !document.hidden && this.#kept.soon());
    $('artifacts-list').addEventListener('keydown', (event) => this.#keys(event));
    const open = (/** @type {boolean} */ on) => {
      $('artifacts-list').hidden = !on;
      $('toggle-artifacts').setAttribute('aria-expanded', String(on));
    };
    open(store.settings.artifactsOpen);
    $('toggle-artifacts').addEventListener('click', () => {
      store.set({ artifactsOpen: !store.settings.artifactsOpen });
      open(store.settings.artifactsOpen);
    });
  }

  /** @param {import('../core/remote.js').Remote} remote of the session that makes them @param {() => number | undefined} ms how long an address is valid */
  from(remote, ms) {
    this.#kept.from(remote, ms);
  }

  clear() {
    this.#items.clear();
    this.#drawn.clear();
    this.#draw();
  }

  /** The terminal shows a picture of so many bytes: a saved file of the same size is not shown twice. */
  drawn(/** @type {number} */ bytes) {
    this.#drawn.add(bytes);
    this.#draw();
  }

  /** Adds a file; replaces one of the same path. */
  add(/** @type {import('../core/messages.js').Artifact} */ { path, mime, size: bytes, url }) {
    // Only addresses of this server: the path and the type come from a program.
    if (new URL(url, document.baseURI).origin !== location.origin) return;
    this.#version += 1;
    const known = this.#items.get(path);
    const same = known && leaf(known.told) === leaf(url);
    const told = same ? known.told : url; // an address that is open in a tab stays valid
    const target = new URL(told, document.baseURI);
    target.searchParams.set('v', String(this.#version)); // the same address has another content now
    const href = target.href;
    this.#items.delete(path);
    this.#items.set(path, { path, mime, size: bytes, told, url: href, version: this.#version, element: null, frame: () => this.#framed(told, href), save: () => saveUrl(href, path) });
    // Bounded, as a program may make any number of files.
    if (this.#items.size > MAX_SHOWN) this.#items.delete(this.#items.keys().next().value ?? '');
    if (same) this.#kept.soon(); // repeated, perhaps by a restarted server, which must be told at once
    else this.#kept.later();
    this.#draw();
    if (!known) announce(texts.artifacts.wasMade(path));
  }

  /** The address with which a frame asks for a page. */
  async #framed(/** @type {string} */ told, /** @type {string} */ href) {
    const { word } = await this.#kept.now(told);
    const target = new URL(href);
    target.searchParams.set('framed', word ?? '');
    return target.href;
  }

  get #list() {
    return [...this.#items.values()].reverse();
  }

  #draw() {
    const focused = focusedIn('#artifacts-list li')?.dataset.path;
    const list = this.#list;
    $('artifacts').hidden = list.length === 0;
    $('part-files-count').textContent = String(list.length);
    $('artifacts-count').textContent = texts.artifacts.count(list.length);
    $('artifacts-list').replaceChildren(...list.map((item) => {
      // Cards are reused: a new element would load its picture again.
      item.element ??= this.#card(item);
      item.element.classList.toggle('drawn', kindOf(item.mime) === 'picture' && this.#drawn.has(item.size));
      return item.element;
    }));
    // Redrawing must not take the focus from a card that is still there.
    if (focused) focusCard(list.find(({ path }) => path === focused));
  }

  #card(/** @type {Made} */ item) {
    const { path, mime, url } = item;
    const name = path.split('/').at(-1) ?? path;
    const open = el('button', { type: 'button', className: 'card', title: path, attrs: { 'aria-label': texts.artifacts.show(path), 'data-kind': kindOf(mime) } },
      this.#preview(item), el('span', { className: 'card-name', textContent: name }));
    open.addEventListener('click', () => this.#show(item));
    const save = el('button', { type: 'button', className: 'icon-button small', title: texts.artifacts.saveHint(size(item.size)), attrs: { 'aria-label': texts.artifacts.save(path) } }, icon('download'));
    save.addEventListener('click', item.save);
    // A PDF opens in a tab of its own, as browsers show it only as a document.
    if (kindOf(mime) === 'document') {
      const link = el('a', { className: 'card', href: url, target: '_blank', rel: 'noopener noreferrer', title: path, attrs: { 'data-kind': 'document' } },
        this.#preview(item), el('span', { className: 'card-name', textContent: name }));
      return el('li', { attrs: { 'data-path': path } }, link, save);
    }
    return el('li', { attrs: { 'data-path': path } }, open, save);
  }

  #preview(/** @type {Made} */ { mime, url }) {
    const kind = kindOf(mime);
    const box = el('span', { className: 'preview' });
    if (kind === 'picture') {
      const picture = el('img', { alt: '', decoding: 'async' });
      picture.addEventListener('error', () => picture.replaceWith(icon('file')));
      picture.src = url;
      box.append(picture);
    } else {
      box.append(icon(ICONS[kind]));
      // Only an excerpt; a table that cannot be read keeps its icon.
      if (kind === 'table') drawTable(url, PREVIEW).then(({ table }) => { table.ariaHidden = 'true'; box.replaceChildren(table); }, () => {});
    }
    return box;
  }

  #show(/** @type {Made} */ item) {
    // Documents are not in the viewer, so its arrows skip them.
    const list = this.#list.filter(({ mime }) => kindOf(mime) !== 'document');
    view(list, list.indexOf(item), () => focusCard(item));
  }

  #keys(/** @type {KeyboardEvent} */ event) {
    const cards = all('#artifacts-list .card');
    const at = cards.findIndex((card) => card === document.activeElement);
    /** @type {Record<string, HTMLElement | undefined>} */ const ways = { ArrowRight: cards[at + 1], ArrowLeft: cards[at - 1], Home: cards[0], End: cards.at(-1) };
    const go = ways[event.key];
    // Without a card in the focus the keys belong to something else.
    if (!go || at < 0) return;
    event.preventDefault();
    go.focus();
  }
}
