// Small words for the DOM.

/** @param {string} id of index.html: that it is there, a test says @returns {any} */
export const $ = (id) => document.getElementById(id);

/**
 * An element with properties, `data-`/`aria-` attributes and children.
 * @param {string} name @param {any} [properties] with `on` (listeners) and `attrs` @param {...any} children @returns {any}
 */
export function el(name, { on = {}, attrs = {}, ...properties } = {}, ...children) {
  const element = document.createElement(name);
  Object.assign(element, properties);
  for (const [attribute, value] of Object.entries(attrs)) element.setAttribute(attribute, value);
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, listener);
  if (properties.className?.includes('icon-button') && attrs['aria-label']) element.title ||= attrs['aria-label'];
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** An icon says what it does also to those who see it. */
export function nameIcons() {
  for (const button of all('.icon-button[aria-label]')) button.title ||= button.ariaLabel;
}

/** @param {string} selector @returns {any} the first element that matches */
export const first = (selector) => document.querySelector(selector);

/** @param {string} selector @returns {any[]} */
export const all = (selector) => [...document.querySelectorAll(selector)];

/** @param {string} selector @returns {any} what holds the focus, or is around it, and matches */
export const focusedIn = (selector) => document.activeElement?.closest?.(selector) ?? null;

const SVG = 'http://www.w3.org/2000/svg';

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  svg.setAttribute('aria-hidden', 'true');
  return svg;
}

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
/** One view at a time: before-paint.js says when. */
export const narrow = {
  get matches() {
    return document.documentElement.classList.contains('narrow');
  },
  onChange: (act) => addEventListener('narrow', act),
};
