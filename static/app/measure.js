// The widths of characters as the browser draws them, which xterm.js measures to put each into its cell. To measure one
// lays out the page, and a font has to be found for it: a screen of characters that were never seen would hold the page
// for seconds. So only so much is measured in one go; what is left over is drawn as it comes, and again when it was
// measured. Of a sequence of characters in one cell the first counts: of marks there is no end.

const WITHIN_MS = 30; // of measuring, until the page had a turn
const MAX_KNOWN = 20_000; // widths of one kind
const MAX_ASKED = 50_000; // until the library's own memory of widths is emptied: it has no bound
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
  const forget = () => { // another weight of the font empties it: this one is the same by another name
    asked = 0;
    term.options.fontWeightBold = term.options.fontWeightBold === 'bold' ? '700' : 'bold';
  };
  /** @param {HTMLElement} element @param {string} character @param {number} times */
  const measure = (element, character, times) => {
    timer ??= setTimeout(again, PAUSE_MS);
    if (spent > WITHIN_MS) {
      left = true;
      return NaN; // nothing is kept of it, and a spacing of it is none
    }
    const began = performance.now();
    text.set?.call(element, character.repeat(times));
    const found = width.get?.call(element);
    spent += performance.now() - began;
    return found;
  };

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
        if (now !== font || known.size > MAX_KNOWN) known.clear();
        font = now;
        const character = String.fromCodePoint(wanted.codePointAt(0) ?? 0x20);
        const kept = known.get(character);
        if (kept !== undefined) return kept;
        const found = measure(element, character, 32);
        if (found > 0 || (found === 0 && element.getClientRects().length)) known.set(character, found);
        return found;
      },
    });
  }
}
