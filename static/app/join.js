// A link to a live session, as an agent gives it to a person: `#session=…&token=…&language=…`. Browsers do not send
// what follows the #, so it is in no log; it is removed from the address at once.
import { randomId } from '../core/bytes.js';
import { texts } from '../core/texts.js';

const ID = /^[A-Za-z0-9_.-]{1,128}$/;
const TOKEN = /^[A-Za-z0-9_.=-]{1,512}$/;
const NAME = /^[a-z0-9-]{1,64}$/;

/** Continues the session of the link in this tab, if the address has one. */
export function join(/** @type {import('./store.js').Store} */ store) {
  const given = new URLSearchParams(location.hash.slice(1));
  const [session, token, language] = ['session', 'token', 'language'].map((name) => given.get(name) ?? '');
  if (!ID.test(session) || !TOKEN.test(token) || !NAME.test(language)) return;
  history.replaceState(history.state, '', location.pathname + location.search);
  // Of no project here: the files of the session are not those of this browser, and none are sent to it.
  const project = `session-${session}`;
  store.saveSession({ session, token, language, client: randomId(), next: FIRST_CHANNEL, channels: {}, sent: {}, wanted: [], project, name: texts.projects.another, files: [], at: Date.now() });
}

const FIRST_CHANNEL = 1024; // of this page's own programs: whoever shares the session counts from 1
