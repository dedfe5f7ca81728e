// The list of sessions with what they use, and the actions on one: watch, notice, end.
import { ask } from './api.js';
import { age, at, bytes, fill, question } from './page.js';
import { latest } from './rows.js';
import { watch } from './watch.js';

/** @typedef {Record<string, any>} Live a session of the list */

export const drawSessions = latest(() => ask('GET', 'sessions'), ({ sessions }) => {
  at('no-sessions').hidden = sessions.length > 0;
  fill('session-rows', sessions.map((/** @type {Live} */ one) => ({ key: one.session, by: { 5: one.age_s, 6: one.cpu_percent, 7: one.memory_bytes, 8: one.output_rate }, cells: [
    { text: one.session, code: true },
    one.owner ?? one.address,
    one.room ?? '–',
    one.language,
    one.watched ? `${one.state}, watched` : one.state,
    age(one.age_s),
    one.cpu_percent === null ? '–' : `${Math.round(one.cpu_percent)} %`,
    `${bytes(one.memory_bytes)} of ${bytes(one.memory_limit_bytes)}`,
    one.output_rate === null ? '–' : `${bytes(one.output_rate)}/s`,
    String(one.attachments),
    one.group ? `${one.group}${one.member ? `, ${one.member}` : ''}` : '–',
    { buttons: [
      { label: 'Watch', about: `Watch ${one.session}`, act: () => watch(one) },
      { label: 'Notice', about: `Send a notice to ${one.session}`, act: () => notice(one) },
      { label: 'End', about: `End ${one.session}`, act: () => end(one) },
    ] },
  ] })));
});

const notice = (/** @type {Live} */ one) => question({
  title: 'Send a notice', about: `To all who are attached to ${one.session}.`, label: 'Text', ok: 'Send',
  act: (text) => ask('POST', `sessions/${encodeURIComponent(one.session)}/notice`, { text }),
});

const end = (/** @type {Live} */ one) => question({
  title: 'End this session', about: `${one.session}: its programs are ended, and its users are told why.`, label: 'Reason', ok: 'End it',
  act: async (reason) => {
    await ask('POST', `sessions/${encodeURIComponent(one.session)}/end`, { reason });
    await drawSessions();
  },
});
