// Helpers for the DOM.

/** @typedef {import('./elements.js').Elements} Elements */
/** @typedef {Record<string, string | number | boolean | undefined>} Attributes */
/** @typedef {{[Type in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Type]) => unknown}} Listeners */
/** @typedef {string | Node | null} Child */

/**
 * @template {string} Id
 * @param {Id} id in index.html; a test checks that it exists, and its type
 * @returns {Id extends keyof Elements ? Elements[Id] : HTMLElement}
 */
export const $ = (id) => /** @type {Id extends keyof Elements ? Elements[Id] : HTMLElement} */ (document.getElementById(id));

/**
 * An element with properties, `data-`/`aria-` attributes and children.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Partial<Omit<HTMLElementTagNameMap[Name], 'style'>> & {on?: Listeners, attrs?: Attributes}} [properties] with listeners and attributes
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function el(name, { on = {}, attrs = {}, ...properties } = {}, ...children) {
  const element = document.createElement(name);
  Object.assign(element, properties);
  for (const [attribute, value] of Object.entries(attrs)) element.setAttribute(attribute, String(value));
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, /** @type {EventListener} */ (listener));
  // An icon alone is not understood by everybody: its name is also its tooltip.
  if (element.classList.contains('icon-button') && attrs['aria-label']) element.title ||= String(attrs['aria-label']);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Icons get a tooltip, for users who see them. */
export function nameIcons() {
  for (const button of all('.icon-button[aria-label]')) button.title ||= button.ariaLabel ?? '';
}

/** @param {string} selector @returns {HTMLElement | null} the first element that matches */
export const first = (selector) => document.querySelector(selector);

/** @param {string} selector @returns {HTMLElement[]} */
export const all = (selector) => [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(selector))];

/** @param {string} selector @returns {HTMLElement | null} the element with the focus or an ancestor of it that matches */
export const focusedIn = (selector) => document.activeElement?.closest(selector) ?? null;

/** @type {FocusOptions & {focusVisible: boolean}} */ const QUIET = { focusVisible: false };

/** Focuses without the focus ring. @param {HTMLElement | null | undefined} element */
export const focusQuietly = (element) => element?.focus(QUIET);

/** What an event happened to. @param {Event} event */
export const targetOf = (event) => /** @type {HTMLElement} */ (event.target);

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} name of a symbol of index.html */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  svg.setAttribute('aria-hidden', 'true');
  return svg;
}

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
/** Whether there is room for one view only; before-paint.js decides it. */
export const narrow = {
  get matches() {
    return document.documentElement.classList.contains('narrow');
  },
  onChange: (/** @type {() => unknown} */ act) => addEventListener('narrow', act),
};
