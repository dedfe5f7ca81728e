// The way to the provider's page, and back to this one.
import { world } from './browser.js';

export function signInAtProvider() {
  const here = new URL(location.href);
  here.searchParams.delete('sign-in');
  const address = world.api('auth/login');
  address.searchParams.set('next', here.pathname + here.search);
  location.assign(address);
}
