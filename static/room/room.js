// The wall of a room: signing in, and the stream of its tiles, which is requested again whenever it ends.
import '../app/policy.js'; // before any library makes a style
import { world } from '../app/browser.js';
import { bearer, credential, forgetKey, keepKey } from '../app/key.js';
import { byCookie, signInAtProvider, signInFailure, signOut } from '../app/sign-in.js';
import { fillMarkup } from '../app/texts.js';
import { inWords } from '../core/problem.js';
import { eventsOf } from '../core/stream.js';
import { texts } from '../core/texts.js';
import { collect, handOut } from './files.js';
import { at } from './page.js';
import { request, wordsOf } from './requests.js';
import { tell } from './tell.js';
import { Tiles } from './tiles.js';
import { watch } from './watch.js';

/** @typedef {import('../app/identity.js').Who} Who */

const AGAIN_MS = 1500; // between the end of a stream and the next request
const LONGEST_MS = 15_000;
const SILENT_MS = 40_000; // without data, after which the stream counts as lost; the server sends something every 10 s

const room = decodeURIComponent(location.pathname.replace(/\/$/, '').split('/').at(-1) ?? '');
/** @type {Who | null} */ let who = null;
/** @type {AbortController | null} */ let open = null; // the present stream
/** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
let failures = 0;
/** @type {ReturnType<typeof signInFailure>} */ let failed = null; // told once, where a sign-in is asked for

const teaches = () => Boolean(who?.roles.includes('teacher') && who.rooms.includes(room));
const tiles = new Tiles({
  open: (tile) => watch(tile, teaches()),
  tell: (tile) => tell(room, tile),
  lower: ({ session }) => request('DELETE', `api/rooms/${encodeURIComponent(room)}/hands/${encodeURIComponent(session)}`).catch((error) => problem(wordsOf(error))),
});

function problem(/** @type {string} */ text) {
  at('problem').hidden = !text;
  if (at('problem').textContent !== text) at('problem').textContent = text;
}

async function login(/** @type {string} */ why) {
  problem(why);
  forgetKey();
  for (const dialog of ['watch', 'tell', 'hand-out']) at(dialog).close();
  at('room').hidden = at('find-label').hidden = at('tell-all').hidden = at('transfer').hidden = at('leave').hidden = true;
  at('status').textContent = '';
  at('count').textContent = '';
  at('login').hidden = false;
  at('key').value = '';
  at('key').focus();
  // Only the ways that this server offers; if it does not answer, a key.
  const told = await world.fetch(world.api('api/identity'), { cache: 'no-store' }).then((answer) => answer.json(), () => null);
  at('provider').hidden = !told?.ways?.includes('oidc');
  offerToLeave(told); // somebody may be signed in who does not teach here
}

/** Shows the way out: of a sign-in, or of the key that this tab keeps. */
function offerToLeave(/** @type {Who | null} */ whose) {
  const signedIn = !bearer() && byCookie(whose);
  at('leave').hidden = !bearer() && !signedIn;
  at('leave').textContent = signedIn && whose ? texts.identity.signOut(whose.name) : texts.wall.forget;
}

/** Follows one stream until the server ends it or it is lost. @returns {Promise<boolean>} whether to request another one */
async function follow(/** @type {AbortController} */ mine) {
  let alive = setTimeout(() => mine.abort(), SILENT_MS);
  try {
    const asked = { headers: credential(), cache: /** @type {const} */ ('no-store'), signal: mine.signal };
    const whose = await world.fetch(world.api('api/identity'), asked);
    who = whose.ok ? await whose.json() : null;
    const answer = await world.fetch(world.api(`api/rooms/${encodeURIComponent(room)}/wall`), asked);
    if (answer.status === 401 || answer.status === 403) {
      const why = answer.status === 403 ? texts.wall.notTeacher : bearer() ? texts.wall.wrongKey : failed ? `${failed.title} ${failed.detail}`.trim() : '';
      failed = null;
      await login(why);
      return false;
    }
    if (!answer.ok || !answer.body) {
      const told = await answer.json().catch(() => null);
      problem(told ? inWords({ code: told.code, message: told.detail }) : texts.session.answered(answer.status));
      return true;
    }
    at('login').hidden = true;
    at('room').hidden = false;
    at('tell-all').hidden = false;
    at('transfer').hidden = !teaches();
    offerToLeave(who);
    let whole = true;
    const watched = answer.body.pipeThrough(new TransformStream({
      transform(piece, out) {
        clearTimeout(alive);
        alive = setTimeout(() => mine.abort(), SILENT_MS);
        out.enqueue(piece);
      },
    }));
    for await (const { event, data } of eventsOf(watched)) {
      if (event !== 'tiles') continue;
      tiles.apply(JSON.parse(data), whole);
      whole = false;
      failures = 0;
      problem('');
      document.body.dataset.ready = '';
    }
    problem(texts.wall.lost);
  } catch (error) {
    if (open === mine) problem(texts.wall.lost);
    // Errors of the network are reported above; anything else is a bug of this page.
    if (!(error instanceof TypeError || error instanceof DOMException)) console.error(error);
  } finally {
    clearTimeout(alive);
  }
  return true;
}

async function connect() {
  clearTimeout(timer);
  open?.abort();
  const mine = new AbortController();
  open = mine;
  const again = await follow(mine);
  document.body.dataset.ready = '';
  if (!again || open !== mine) return;
  failures += 1;
  timer = setTimeout(connect, Math.min(LONGEST_MS, AGAIN_MS * 2 ** (failures - 1)) * (0.5 + world.random() / 2));
}

at('login').addEventListener('submit', (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  keepKey(at('key').value.trim());
  connect();
});
at('provider').addEventListener('click', signInAtProvider);
at('leave').addEventListener('click', async () => {
  open?.abort();
  open = null;
  clearTimeout(timer);
  login(bearer() || await signOut() ? '' : texts.identity.notSignedOut);
});
at('tell-all').addEventListener('click', () => tell(room, null));
at('open-hand-out').addEventListener('click', () => handOut(room));
at('collect').addEventListener('click', () => collect(room));
addEventListener('online', () => connect());
addEventListener('pageshow', (event) => event.persisted && connect());

function begin() {
  fillMarkup();
  failed = signInFailure();
  document.title = at('title').textContent = texts.wall.title(room);
  connect();
}

begin();
