// The way to the provider's page and back to this one, and out again.
import { texts } from '../core/texts.js';
import { world } from './browser.js';

export function signInAtProvider() {
  const here = new URL(location.href);
  here.searchParams.delete('sign-in');
  const address = world.api('auth/login');
  address.searchParams.set('next', here.pathname + here.search);
  location.assign(address);
}

/** What the way back from the provider says has failed; null if nothing did. The address is as before then. @returns {{title: string, detail: string} | null} */
export function signInFailure() {
  const here = new URL(location.href);
  const code = here.searchParams.get('sign-in');
  if (code === null) return null;
  here.searchParams.delete('sign-in');
  history.replaceState(history.state, '', here);
  /** @type {Record<string, string>} */ const details = { ...texts.errors, ...texts.identity.failedOf };
  return { title: texts.identity.failed, detail: Object.hasOwn(details, code) ? details[code] : '' };
}

/** Whether somebody is signed in by this browser's cookie, and not by a key. @param {{how: string} | null} who */
export const byCookie = (who) => who?.how === 'oidc' || who?.how === 'lti';

/** Ends the sign-in of this browser. @returns {Promise<boolean>} whether the server has done so */
export const signOut = () => world.fetch(world.api('auth/logout'), { method: 'POST' }).then((answer) => answer.ok, () => false);
