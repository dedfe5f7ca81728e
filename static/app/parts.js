// The parts of the program's pane: output, problems, files. If the pane is too low for all of them, they are tabs
// with counts.
import { $ } from './dom.js';
import { tabKeys } from './tabs.js';

const ROOM = 26; // rem: below this height, one part at a time
/** @typedef {'output' | 'problems' | 'files'} Part */
/** @type {Record<Part, string>} */
const PARTS = { output: 'program-screen', problems: 'problems', files: 'artifacts' };

const NAMES = /** @type {Part[]} */ (Object.keys(PARTS));

export class Parts {
  #pane = $('program');
  #low = false;
  /** @type {Part} */ #chosen = 'output';
  /** @type {AbortController | undefined} */ #zone;

  /** @param {() => unknown} shown called when the output is shown again */
  constructor(shown) {
    this.#shown = shown;
    for (const name of NAMES) {
      $(`part-${name}`).addEventListener('click', () => this.choose(name));
      $(`part-${name}`).addEventListener('focus', () => name !== this.#chosen && this.choose(name));
    }
    new ResizeObserver(([{ contentRect }]) => {
      const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
      // A pane that is hidden has no height, and keeps its arrangement.
      this.#low = contentRect.height > 0 ? contentRect.height < ROOM * rem : this.#low;
      this.draw();
    }).observe(this.#pane);
  }

  #shown;

  choose(/** @type {Part} */ name) {
    this.#chosen = name;
    this.draw();
    // The terminal was not laid out while it was hidden.
    if (name === 'output') this.#shown();
  }

  /** Whether a part is hidden behind another one. */
  hides(/** @type {Part} */ name) {
    return this.#tabs && this.#chosen !== name;
  }

  get #there() {
    return NAMES.filter((name) => name === 'output' || !$(PARTS[name]).hidden);
  }

  get #tabs() {
    return this.#low && this.#there.length > 1;
  }

  draw() {
    const there = this.#there;
    // The chosen part may have become empty.
    if (!there.includes(this.#chosen)) this.#chosen = 'output';
    const tabs = this.#tabs;
    $('program-parts').hidden = !tabs;
    if (tabs) this.#pane.dataset.part = this.#chosen;
    else delete this.#pane.dataset.part;
    for (const name of NAMES) {
      const id = PARTS[name];
      const tab = $(`part-${name}`);
      tab.hidden = !there.includes(name);
      tab.setAttribute('aria-selected', String(name === this.#chosen));
      if (tabs) {
        $(id).setAttribute('role', 'tabpanel');
        $(id).setAttribute('aria-labelledby', `part-${name}`);
      } else {
        $(id).removeAttribute('role');
        if (name === 'problems') $(id).setAttribute('aria-labelledby', 'problems-title');
        else $(id).removeAttribute('aria-labelledby');
      }
    }
    // The keys are bound to the present tabs.
    this.#zone?.abort();
    this.#zone = tabs ? tabKeys($('program-parts'), () => $(`part-${this.#chosen}`)) : undefined;
  }
}
