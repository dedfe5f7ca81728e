// Bounds the measuring of characters' widths, which xterm.js does to place each into its cell. Each measurement lays
// out the page and may have to find a font: a screen of characters that were never seen would block the page for
// seconds. So only a limited time is spent in one go; the rest is drawn unmeasured, and drawn again after it was
// measured. Of several characters in one cell only the first is measured, as combinations with marks are unlimited.

const WITHIN_MS = 30; // of measuring, until the page had a turn of the event loop
const MAX_KNOWN = 20_000; // widths of one kind
const MAX_ASKED = 50_000; // until the library's own cache of widths is emptied, which has no bound
const PAUSE_MS = 10;

const text = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(Node.prototype, 'textContent'));
const width = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(HTMLElement.prototype, 'offsetWidth'));

/** Bounds what an open terminal measures. @param {import('@xterm/xterm').Terminal} term */
export function boundMeasuring(term) {
  let spent = 0;
  let asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  let left = false; // something was not measured

  const again = () => {
    timer = undefined;
    spent = 0;
    if (asked > MAX_ASKED) forget();
    if (!left) return;
    left = false;
    term.refresh(0, term.rows - 1);
  };
  const forget = () => { // a change of the font weight empties the cache; '700' and 'bold' are the same weight
    asked = 0;
    term.options.fontWeightBold = term.options.fontWeightBold === 'bold' ? '700' : 'bold';
  };
  /** @param {HTMLElement} element @param {string} character @param {number} times */
  const measure = (element, character, times) => {
    // The budget is renewed after a pause in which the page can do other work.
    timer ??= setTimeout(again, PAUSE_MS);
    if (spent > WITHIN_MS) {
      left = true;
      return NaN; // the library keeps no NaN, and sets no spacing for it
    }
    const began = performance.now();
    text.set?.call(element, character.repeat(times));
    const found = width.get?.call(element);
    spent += performance.now() - began;
    return found;
  };

  // The library measures in these elements only, so their two properties are replaced.
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (term.element?.querySelectorAll('.xterm-width-cache-measure-container > span') ?? [])) {
    /** @type {Map<string, number>} */ const known = new Map();
    let wanted = '';
    let font = '';
    Object.defineProperty(element, 'textContent', { get: () => wanted, set(value) { wanted = value; } });
    Object.defineProperty(element, 'offsetWidth', {
      get() {
        asked += 1;
        const { fontFamily, fontSize } = /** @type {HTMLElement} */ (element.parentElement).style;
        const now = `${fontFamily} ${fontSize} ${element.style.fontWeight}`;
        // Other fonts have other widths.
        if (now !== font || known.size > MAX_KNOWN) known.clear();
        font = now;
        const character = String.fromCodePoint(wanted.codePointAt(0) ?? 0x20);
        const kept = known.get(character);
        if (kept !== undefined) return kept;
        const found = measure(element, character, 32);
        // 0 is a valid width, but not of an element that is not laid out.
        if (found > 0 || (found === 0 && element.getClientRects().length)) known.set(character, found);
        return found;
      },
    });
  }
}
