// The tiles of a wall: one for each session, changed in place, so that the focus and a selection are kept.
import { el } from '../app/dom.js';
import { texts } from '../core/texts.js';
import { at } from './page.js';

/**
 * A session as the server tells it.
 * @typedef {{session: string, name: string, owner: string | null, language: string, opened: number, state: 'running' | 'idle' | 'away', text: string}} Tile
 * @typedef {{tile: Tile, item: HTMLElement, button: HTMLButtonElement, dot: HTMLElement, state: HTMLElement, language: HTMLElement, since: HTMLElement, screen: HTMLElement}} Shown
 */

const TONES = { running: 'good', idle: 'warn', away: 'none' };

export const nameOf = (/** @type {Tile} */ tile) => tile.name || tile.owner || texts.wall.nobody;

/** By name, and by age where somebody has two. */
const order = (/** @type {Shown} */ one, /** @type {Shown} */ other) => nameOf(one.tile).localeCompare(nameOf(other.tile), texts.locale) || one.tile.opened - other.tile.opened;

export class Tiles {
  /** @type {Map<string, Shown>} */ #shown = new Map();
  #open;

  /** @param {(tile: Tile) => unknown} open what a click on a tile does */
  constructor(open) {
    this.#open = open;
    at('find').addEventListener('input', () => this.#filter());
  }

  /** Draws what has changed. `whole`: the first event of a connection, which has all sessions. @param {{tiles: Tile[], gone: string[]}} told @param {boolean} whole */
  apply({ tiles, gone }, whole) {
    const left = whole ? [...this.#shown.keys()].filter((name) => !tiles.some(({ session }) => session === name)) : gone;
    for (const name of left) {
      this.#shown.get(name)?.item.remove();
      this.#shown.delete(name);
    }
    let fresh = false;
    for (const tile of tiles) {
      const shown = this.#shown.get(tile.session) ?? this.#make(tile);
      fresh ||= !shown.item.isConnected;
      shown.tile = tile;
      this.#draw(shown);
    }
    if (fresh) this.#place();
    const all = [...this.#shown.values()];
    at('none').hidden = all.length > 0;
    at('find-label').hidden = all.length === 0;
    at('count').textContent = texts.wall.count(all.length, all.filter(({ tile }) => tile.state === 'running').length);
    this.#filter();
  }

  /** Puts new ones where they belong; those that are there stay, and so does the focus. */
  #place() {
    /** @type {Element | null} */ let next = null;
    for (const { item } of [...this.#shown.values()].sort(order).reverse()) {
      if (!item.isConnected) at('wall').insertBefore(item, next);
      next = item;
    }
  }

  /** @returns {Shown} */
  #make(/** @type {Tile} */ tile) {
    const theirs = { attrs: { 'data-theirs': '' } }; // no texts of this page
    const [dot, state, since] = [el('span', { className: 'dot' }), el('span'), el('span')];
    const [language, screen, button] = [el('span', theirs), el('pre', theirs), el('button', { type: 'button', ...theirs })];
    const item = el('li', { attrs: { 'data-session': tile.session } }, el('h2', {}, dot, button), el('p', {}, state, ' · ', language, ' · ', since), screen);
    const shown = { tile, item, button, dot, state, language, since, screen };
    button.addEventListener('click', () => this.#open(shown.tile));
    this.#shown.set(tile.session, shown);
    return shown;
  }

  #draw(/** @type {Shown} */ { tile, item, button, dot, state, language, since, screen }) {
    const name = nameOf(tile);
    item.dataset.state = tile.state;
    dot.dataset.tone = TONES[tile.state] ?? 'none';
    if (button.textContent !== name) {
      button.textContent = name;
      button.ariaLabel = texts.wall.watch(name);
    }
    const opened = new Date(tile.opened * 1000).toLocaleTimeString(texts.locale, { hour: '2-digit', minute: '2-digit' });
    /** @type {[HTMLElement, string][]} */ const words = [[state, texts.wall[tile.state]], [language, tile.language], [since, texts.wall.since(opened)], [screen, tile.text]];
    // What is as it was is not written: a selection in it stays.
    for (const [element, text] of words) if (element.textContent !== text) element.textContent = text;
  }

  #filter() {
    const wanted = at('find').value.trim().toLocaleLowerCase(texts.locale);
    let some = false;
    for (const { tile, item } of this.#shown.values()) {
      const fits = [nameOf(tile), tile.owner ?? '', tile.language, texts.wall[tile.state]].some((word) => word.toLocaleLowerCase(texts.locale).includes(wanted));
      item.hidden = !fits;
      some ||= fits;
    }
    at('no-match').hidden = some || !this.#shown.size;
  }
}
