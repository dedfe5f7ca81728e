// What to tell a person about an `error` of the server: what happened, and what to do.
import { codeOf, messageOf } from './faults.js';
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
  return { title, detail: COMPLETE.has(code) ? '' : `${message} (${code})` };
}

/** What went wrong, in the user's words where its code is known, else in those that came with it. @param {unknown} error */
export function wordsOf(error) {
  const told = texts.errors[codeOf(error) ?? ''];
  return told ?? messageOf(error);
}
