// Who is signed in: asks the server, and lets the user sign in with its provider or with a key, and out again.
import { texts } from '../core/texts.js';
import { announce } from './announce.js';
import { ask } from './ask.js';
import { banner, clearBanner } from './banners.js';
import { world } from './browser.js';
import { $ } from './dom.js';
import { bearer, credential, forgetKey, keepKey } from './key.js';
import { byCookie, signInAtProvider, signInFailure, signOut } from './sign-in.js';

/**
 * As `GET /api/identity` tells it.
 * @typedef {{principal: string | null, name: string, how: string, required: boolean, may_open: boolean, ways: string[], roles: string[], rooms: string[],
 *   audit_days: number, audit_programs: boolean}} Who
 */

const MATTER = 'identity'; // of the banner

/** Asks the server who is signed in, and shows a banner if a sign-in is needed. @returns {Promise<Who | null>} null if the server does not answer */
async function look() {
  const key = bearer();
  const answer = await world.fetch(world.api('api/identity'), { headers: credential(), cache: 'no-store' });
  if (answer.status === 401 && key) {
    forgetKey();
    return look();
  }
  return answer.ok ? answer.json() : null;
}

/** @param {() => Promise<void>} again */
async function withKey(again) {
  const given = await ask({
    title: texts.identity.keyTitle, text: texts.identity.keyText, label: texts.identity.key, ok: texts.identity.signIn, secret: true,
    check: (value) => (/^[!-~]{8,8192}$/.test(value) ? null : texts.identity.keyWrong),
  });
  if (given === null) return;
  keepKey(given);
  await again();
  if (bearer() !== null) clearBanner('sign-in');
  else banner('sign-in', { tone: 'bad', title: texts.identity.keyUnknown, dismiss: true });
}

/** @param {Who} who @param {() => Promise<void>} again */
function draw(who, again) {
  const out = $('menu-sign-out');
  out.hidden = who.principal === null || !(byCookie(who) || ['api_key', 'admin_key', 'jwt'].includes(who.how));
  out.textContent = texts.identity.signOut(who.name);
  $('menu-sign-in').hidden = who.principal !== null || !(who.required || who.ways.includes('oidc'));
  if (who.may_open) {
    clearBanner(MATTER);
    return;
  }
  const provider = { label: texts.identity.signIn, act: signInAtProvider };
  const key = { label: texts.identity.useKey, act: () => withKey(again) };
  const oidc = who.ways.includes('oidc');
  banner(MATTER, {
    tone: 'info',
    title: who.principal === null ? texts.identity.required : texts.identity.mayNot(who.name),
    detail: texts.identity.requiredDetail, action: oidc ? provider : key, other: oidc ? key : null,
  });
}

/** Shows who is signed in, and what there is to sign in with. @param {(who: Who) => void} told called with who it is @returns {() => Promise<void>} asks again */
export function setUpIdentity(told) {
  /** @type {Who | null} */ let who = null;
  const again = async () => {
    try {
      who = await look();
    } catch {
      return; // an unreachable server is reported by the request for its languages
    }
    if (!who) return;
    draw(who, again);
    told(who);
  };
  $('menu-sign-in').addEventListener('click', () => {
    $('more-menu').hidePopover();
    if (who?.ways.includes('oidc')) signInAtProvider();
    else withKey(again);
  });
  $('menu-sign-out').addEventListener('click', async () => {
    $('more-menu').hidePopover();
    forgetKey();
    const done = !byCookie(who) || await signOut();
    await again();
    if (done) announce(texts.identity.signedOut);
    else banner('sign-in', { tone: 'bad', title: texts.identity.notSignedOut, dismiss: true });
  });
  const failure = signInFailure();
  if (failure) banner('sign-in', { tone: 'bad', ...failure, dismiss: true });
  again();
  return again;
}
