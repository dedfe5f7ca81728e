// Links that lead out of the page: opened in a tab of their own; asked about where what stands there is not where it leads.
import { texts } from '../core/texts.js';
import { ask } from './ask.js';

const SCHEMES = new Set(['http:', 'https:']);
const plain = (/** @type {string} */ text) => text.trim().replace(/^https?:\/\//i, '').replace(/\/$/, '').toLowerCase();

/** Whether the text of a link says, without another word, where it leads. */
function tells(/** @type {URL} */ url, /** @type {string} */ text) {
  return url.username === '' && url.password === '' && plain(text) === plain(url.href);
}

/** @param {string} uri a program's: not to be trusted @param {string} text what stands there */
export async function openAddress(uri, text) {
  let url;
  try {
    url = new URL(uri);
  } catch {
    return;
  }
  if (!SCHEMES.has(url.protocol)) return;
  if (!tells(url, text) && (await ask({ title: texts.artifacts.openLink(url.host), text: texts.artifacts.openLinkText(url.href), ok: texts.artifacts.openLinkOk })) === null) return;
  window.open(url.href, '_blank', 'noopener,noreferrer');
}
