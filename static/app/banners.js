// Messages across the top of the page: one for each subject, until it is resolved.
import { texts } from '../core/texts.js';
import { $, el, icon } from './dom.js';

/** @type {Map<string, {element: HTMLElement, signature: string}>} */ const shown = new Map();

/** @typedef {{label: string, act: () => unknown}} Action a button of a message */

/**
 * @param {string} key the subject; a later message replaces an earlier one
 * @param {{tone?: string, title: string, detail?: string, action?: Action | null, other?: Action | null, dismiss?: boolean}} message
 *   `dismiss`: with a button that closes it
 */
export function banner(key, { tone = 'warn', title, detail = '', action = null, other = null, dismiss = false }) {
  // An unchanged message is not drawn again: a screen reader would read it twice.
  const signature = JSON.stringify([tone, title, detail, action?.label, other?.label, dismiss]);
  if (shown.get(key)?.signature === signature) return;
  const buttons = [action, other].filter((one) => one !== null).map(({ label, act }) =>
    el('button', { className: 'secondary', type: 'button', textContent: label, on: { click: () => act() } }));
  const close = dismiss ? el('button', { className: 'icon-button small', type: 'button', attrs: { 'aria-label': texts.page.dismiss }, on: { click: () => clearBanner(key) } }, icon('close')) : null;
  const element = el('div', { className: 'banner', attrs: { 'data-tone': tone, 'data-key': key } },
    el('p', {}, el('b', { textContent: title }), detail ? ' ' : '', el('span', { textContent: detail })), ...buttons, close);
  const old = shown.get(key)?.element;
  // In its place, so that other messages do not move.
  if (old) old.replaceWith(element);
  else $('banners').append(element);
  shown.set(key, { element, signature });
}

export function clearBanner(/** @type {string} */ key) {
  shown.get(key)?.element.remove();
  shown.delete(key);
}
