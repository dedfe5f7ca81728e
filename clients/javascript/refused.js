import { CodecError } from '../../static/core/codec.js';
import { RemoteError } from '../../static/core/remote.js';

export const UNREACHABLE = 'unreachable';

/** The server's reason, or that it is away. `code`: of the protocol's table, or `unreachable`. `retryable`: the same may succeed later. */
export class Refused extends Error {
  constructor(/** @type {string} */ message, /** @type {string} */ code, /** @type {boolean} */ retryable = false) {
    super(message);
    this.name = 'Refused';
    this.code = code;
    this.retryable = retryable;
  }
}

/** An error of the core as a Refused; any other as it is. @returns {unknown} */
export function asRefused(/** @type {unknown} */ error) {
  if (error instanceof RemoteError) return new Refused(error.detail, error.code, error.retryable);
  return error instanceof CodecError ? new Refused(error.message, error.code) : error;
}

/** What `act` returns; it throws Refused for errors of the core. @template Value @param {() => Value} act @returns {Value} */
export function refusing(act) {
  try {
    return act();
  } catch (error) {
    throw asRefused(error);
  }
}

/** As `refusing`, for what comes later. @template Value @param {Promise<Value>} coming @returns {Promise<Value>} */
export const refusingLater = (coming) => coming.catch((error) => { throw asRefused(error); });
