/** The server's reason, or that it is away. `code`: of the protocol's table, or `unreachable`. `retryable`: the same may succeed later. */
export class Refused extends Error {
  constructor(/** @type {string} */ message, /** @type {string} */ code, /** @type {boolean} */ retryable = false) {
    super(message);
    this.name = 'Refused';
    this.code = code;
    this.retryable = retryable;
  }
}
