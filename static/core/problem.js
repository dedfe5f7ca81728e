// The message to show for an `error` of the server: what happened, and what to do.
import { texts } from './texts.js';

/** Codes whose text is sufficient; for the others the server's own sentence is shown as well. */
const COMPLETE = new Set([
  'queue_full', 'queue_timeout', 'draining', 'rate_limited', 'channels_busy', 'not_control', 'unauthenticated',
]);

/** Errors that the protocol's code has handled: nothing is shown. */
const SILENT = new Set(['input_gap', 'input_overflow', 'ack_ahead', 'channel_used', 'superseded', 'no_session', 'no_channel', 'unexpected_message']);

/** @returns {{title: string, detail: string} | null} */
export function problem(/** @type {{code: string, message: string}} */ { code, message }) {
  if (SILENT.has(code)) return null;
  const title = texts.errors[code] ?? texts.unknownError;
  return { title, detail: COMPLETE.has(code) ? '' : texts.inEnglish(message, code) };
}

/** A refusal of the server as one text: that of its code if it is known, and the server's sentence. */
export function inWords(/** @type {{code: string, message: string}} */ { code, message }) {
  return `${texts.errors[code] ?? texts.unknownError} ${texts.inEnglish(message, code)}`;
}

/** The detail of these notices, from the server's message, which is not treated as English. @type {Record<string, (message: string) => string>} */
const OWN = { operator: (message) => message, teacher: (message) => message, handed_out: (message) => message, collected: (message) => message, watched: (message) => message, unwatched: () => '', taken_over: (message) => message, handed_back: (message) => message };

/** The text for a `notice`. @returns {{title: string, detail: string}} */
export function noticeWords(/** @type {{code: string, message: string}} */ { code, message }) {
  const known = texts.notices[code];
  return { title: known ?? texts.unknownNotice, detail: OWN[code]?.(message) ?? texts.inEnglish(message, code) };
}
