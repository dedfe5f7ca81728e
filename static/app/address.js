// External links: opened in a new tab. If the text of a link is not its address, the user is asked first.
import { texts } from '../core/texts.js';
import { ask } from './ask.js';

const SCHEMES = new Set(['http:', 'https:']);
const plain = (/** @type {string} */ text) => text.trim().replace(/^https?:\/\//i, '').replace(/\/$/, '').toLowerCase();

/** Whether the text of a link is its address, so that the user sees where it leads. */
function tells(/** @type {URL} */ url, /** @type {string} */ text) {
  return url.username === '' && url.password === '' && plain(text) === plain(url.href);
}

/** @param {string} uri from a program, so not trusted @param {string} text the link's text */
export async function openAddress(uri, text) {
  let url;
  try {
    url = new URL(uri);
  } catch {
    return;
  }
  // Others, such as `javascript:`, could run in the page's origin.
  if (!SCHEMES.has(url.protocol)) return;
  if (!tells(url, text) && (await ask({ title: texts.artifacts.openLink(url.host), text: texts.artifacts.openLinkText(url.href), ok: texts.artifacts.openLinkOk })) === null) return;
  // Without an opener: the other page cannot navigate this one.
  window.open(url.href, '_blank', 'noopener,noreferrer');
}
