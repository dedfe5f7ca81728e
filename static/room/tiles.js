// The tiles of a wall: one for each session, changed in place, so that the focus and a selection are kept.
import { el } from '../app/dom.js';
import { texts } from '../core/texts.js';
import { at } from './page.js';

/**
 * A session as the server tells it.
 * @typedef {{session: string, name: string, owner: string | null, language: string, opened: number, state: 'running' | 'idle' | 'away', text: string,
 *   hand: number | null}} Tile `opened`, `hand` (since when it is raised): seconds since 1970
 * @typedef {{tile: Tile, item: HTMLElement, button: HTMLButtonElement, tell: HTMLButtonElement, lower: HTMLButtonElement, dot: HTMLElement, state: HTMLElement,
 *   language: HTMLElement, since: HTMLElement, hand: HTMLElement, raised: HTMLElement, screen: HTMLElement}} Shown
 * @typedef {{open: (tile: Tile) => unknown, tell: (tile: Tile) => unknown, lower: (tile: Tile) => unknown}} Acts what the buttons of a tile do
 */

const TONES = { running: 'good', idle: 'warn', away: 'none' };

export const nameOf = (/** @type {Tile} */ tile) => tile.name || tile.owner || texts.wall.nobody;

const clock = (/** @type {number} */ seconds) => new Date(seconds * 1000).toLocaleTimeString(texts.locale, { hour: '2-digit', minute: '2-digit' });

/** Raised hands first, the longest raised one at the top; then by name, and sessions of the same name by age. */
const order = (/** @type {Shown} */ one, /** @type {Shown} */ other) => (one.tile.hand ?? Infinity) - (other.tile.hand ?? Infinity) || nameOf(one.tile).localeCompare(nameOf(other.tile), texts.locale) || one.tile.opened - other.tile.opened;

export class Tiles {
  /** @type {Map<string, Shown>} */ #shown = new Map();
  #acts;

  /** @param {Acts} acts */
  constructor(acts) {
    this.#acts = acts;
    at('find').addEventListener('input', () => this.#filter());
  }

  /** Draws what has changed. `whole`: the first event of a connection, which has all sessions. @param {{tiles: Tile[], gone: string[]}} told @param {boolean} whole */
  apply({ tiles, gone }, whole) {
    const left = whole ? [...this.#shown.keys()].filter((name) => !tiles.some(({ session }) => session === name)) : gone;
    for (const name of left) {
      this.#shown.get(name)?.item.remove();
      this.#shown.delete(name);
    }
    for (const tile of tiles) {
      const shown = this.#shown.get(tile.session) ?? this.#make(tile);
      shown.tile = tile;
      this.#draw(shown);
    }
    this.#place();
    const all = [...this.#shown.values()];
    at('none').hidden = all.length > 0;
    at('find-label').hidden = all.length === 0;
    const hands = all.filter(({ tile }) => tile.hand !== null).length;
    const count = texts.wall.count(all.length, all.filter(({ tile }) => tile.state === 'running').length);
    at('count').textContent = hands ? `${count}, ${texts.wall.hands(hands)}` : count;
    this.#filter();
  }

  /** Restores the order of the tiles if needed, and keeps the focus. */
  #place() {
    const wanted = [...this.#shown.values()].sort(order).map(({ item }) => item);
    const list = at('wall');
    if (wanted.length === list.children.length && wanted.every((item, index) => item === list.children[index])) return;
    const focused = list.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
    list.replaceChildren(...wanted);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  }

  /** @returns {Shown} */
  #make(/** @type {Tile} */ tile) {
    const theirs = { attrs: { 'data-theirs': '' } }; // no texts of this page
    const [dot, state, since] = [el('span', { className: 'dot' }), el('span'), el('span')];
    const [language, screen, button] = [el('span', theirs), el('pre', theirs), el('button', { type: 'button', ...theirs })];
    const [tell, lower] = [texts.wall.tell, texts.wall.lower].map((textContent) => el('button', { type: 'button', className: 'text-button', textContent }));
    const raised = el('span');
    const hand = el('p', { className: 'hand' }, raised, lower);
    const item = el('li', { attrs: { 'data-session': tile.session } }, el('h2', {}, dot, button, el('span', { className: 'spacer' }), tell),
      el('p', {}, state, ' · ', language, ' · ', since), hand, screen);
    const shown = { tile, item, button, tell, lower, dot, state, language, since, hand, raised, screen };
    button.addEventListener('click', () => this.#acts.open(shown.tile));
    tell.addEventListener('click', () => this.#acts.tell(shown.tile));
    lower.addEventListener('click', () => this.#acts.lower(shown.tile));
    this.#shown.set(tile.session, shown);
    return shown;
  }

  #draw(/** @type {Shown} */ { tile, item, button, tell, lower, dot, state, language, since, hand, raised, screen }) {
    const name = nameOf(tile);
    item.dataset.state = tile.state;
    dot.dataset.tone = TONES[tile.state] ?? 'none';
    if (button.textContent !== name) {
      button.textContent = name;
      button.ariaLabel = texts.wall.watch(name);
      tell.ariaLabel = texts.wall.tellTo(name);
      lower.ariaLabel = texts.wall.lowerOf(name);
    }
    hand.hidden = tile.hand === null;
    item.toggleAttribute('data-hand', tile.hand !== null);
    /** @type {[HTMLElement, string][]} */ const words = [[state, texts.wall[tile.state]], [language, tile.language], [since, texts.wall.since(clock(tile.opened))],
      [raised, tile.hand === null ? '' : texts.wall.hand(clock(tile.hand))], [screen, tile.text]];
    // Unchanged texts are not written, so that a selection in them is kept.
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
