// What to tell a person about an `error` of the server: what happened, and what to do.
import { texts } from './texts.js';

/** Codes whose advice says it all; for the others the server's own words are shown as well. */
const COMPLETE = new Set([
  'queue_full', 'queue_timeout', 'draining', 'rate_limited', 'channels_busy', 'not_control', 'unauthenticated',
]);

/** Errors that the protocol code has dealt with: nothing to tell. */
const SILENT = new Set(['input_gap', 'input_overflow', 'ack_ahead', 'channel_used', 'superseded', 'no_session', 'no_channel', 'unexpected_message']);

/** @returns {{title: string, detail: string} | null} */
export function problem(/** @type {{code: string, message: string}} */ { code, message }) {
  if (SILENT.has(code)) return null;
  const title = texts.errors[code] ?? texts.unknownError;
  return { title, detail: COMPLETE.has(code) ? '' : texts.inEnglish(message, code) };
}

/** What the server refused, in one text: by its code where that is known, and in its own words. */
export function inWords(/** @type {{code: string, message: string}} */ { code, message }) {
  return `${texts.errors[code] ?? texts.unknownError} ${texts.inEnglish(message, code)}`;
}

/** What a `notice` tells. @returns {{title: string, detail: string}} */
export function noticeWords(/** @type {{code: string, message: string}} */ { code, message }) {
  const known = texts.notices[code];
  return { title: known ?? texts.unknownNotice, detail: texts.inEnglish(message, code) };
}
