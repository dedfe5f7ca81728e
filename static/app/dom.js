// Small words for the DOM.

export const $ = (id) => document.getElementById(id);

/** An element with properties, `data-`/`aria-` attributes and children. */
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
  for (const button of document.querySelectorAll('.icon-button[aria-label]')) button.title ||= button.ariaLabel;
}

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
