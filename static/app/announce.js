// Announces changes that are visible on the screen to screen readers.
import { el } from './dom.js';

const region = el('div', { className: 'aside', attrs: { 'aria-live': 'polite' } });
document.body.append(region);

export function announce(/** @type {string} */ text) {
  region.textContent = text;
}
