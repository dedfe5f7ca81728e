// What to tell a person about an `error` of the server: what happened, and what to do.

const ADVICE = {
  bad_json: 'This page and the server do not understand each other. Reload the page.',
  bad_frame: 'This page and the server do not understand each other. Reload the page.',
  bad_message: 'The server did not accept the request.',
  unknown_type: 'This page is newer than the server. Reload the page.',
  frame_too_large: 'The project is too large to send. Remove large files from it.',
  no_first_message: 'The connection was too slow. Try again.',
  not_control: 'Another page has the control. Take control first.',
  channel_limit: 'Too many programs run at once in this session. Stop one of them first.',
  channels_busy: 'Too much output of earlier programs waits to be shown. Wait a moment, then run again.',
  unsupported: 'This server does not offer that.',
  unknown_language: 'The server does not have this language. Choose another.',
  bad_path: 'A file has a name that cannot be used. Rename it.',
  file_too_large: 'A file is too large. Make it smaller or remove it.',
  no_file: 'A file is not there any more.',
  file_exists: 'There is a file of this name already.',
  workspace_full: 'The session has no room left for files. Delete some.',
  bad_archive: 'The archive cannot be unpacked.',
  files_busy: 'Too many files are on their way at once. Try again in a moment.',
  too_many_files: 'The project has too many files. Remove some.',
  member_taken: 'The group has a member of this name already. Choose another.',
  no_group: 'There is no such group any more.',
  group_full: 'The group is full.',
  too_many_groups: 'There are too many groups on this server. Try again later.',
  network_failed: 'The group’s network could not be made. Try again.',
  bad_limit: 'A limit that was asked for cannot be had.',
  unauthenticated: 'You are not signed in. Reload the page and sign in.',
  not_allowed: 'You may not do this here.',
  too_slow: 'The connection was too slow for what was sent. It is tried again.',
  rate_limited: 'Too many requests came from your address. It goes on by itself in a moment.',
  too_many_attachments: 'So many pages look at this session that it takes no more. It goes on when one is closed.',
  too_many_sessions: 'Too many sessions are open from your address or account. Close another page with a session.',
  queue_full: 'All places are taken, and so is the queue. Try again in a while.',
  queue_timeout: 'No place became free in time. Try again.',
  draining: 'The server is about to restart. Try again in a minute.',
  language_not_ready: 'This language is still being prepared. Try again in a minute.',
  language_failed: 'This language could not be prepared on the server. Tell the operator, and choose another.',
  engine_unavailable: 'The server cannot start containers right now. Try again in a minute.',
  engine_timeout: 'Starting took too long. Try again.',
  image_missing: 'This language is being prepared again. Try again in a minute.',
  start_failed: 'The container could not be started. Try again.',
  name_conflict: 'Starting the container met another of the same name. Try again.',
  container_gone: 'The container is gone. Run again to begin a new session.',
  agent_lost: 'The container does not answer any more. Run again to begin a new session.',
  files_failed: 'The files could not be written in the container. Its disk may be full.',
  internal: 'The server had a fault; it was logged. Try again.',
};

/** Codes whose advice says it all; for the others the server's own words are shown as well. */
const COMPLETE = new Set([
  'queue_full', 'queue_timeout', 'draining', 'rate_limited', 'channels_busy', 'not_control', 'unauthenticated',
]);

/** Errors that the protocol code has dealt with: nothing to tell. */
const SILENT = new Set(['input_gap', 'input_overflow', 'ack_ahead', 'channel_used', 'superseded', 'no_session', 'no_channel', 'unexpected_message']);

/** @returns {{title: string, detail: string} | null} */
export function problem({ code, message }) {
  if (SILENT.has(code)) return null;
  const title = ADVICE[code] ?? 'Something went wrong.';
  return { title, detail: COMPLETE.has(code) ? '' : `${message} (${code})` };
}
