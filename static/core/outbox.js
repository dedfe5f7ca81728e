// Changes on their way to a workspace, one after the other, in the order in which the user made them. A file whose
// deletion has failed is tried again before a program runs.

import { codeOf } from './faults.js';

export class Outbox {
  #remote;
  #failed;
  /** @type {Set<string>} */ #owed = new Set();
  #pending = 0;
  /** @type {Promise<unknown>} */ #last = Promise.resolve();

  /** @param failed called with the Error of a change that did not arrive */
  constructor(/** @type {import('./remote.js').Remote} */ remote, /** @type {(error: unknown) => void} */ failed) {
    this.#remote = remote;
    this.#failed = failed;
  }

  get busy() {
    return this.#owed.size > 0 || this.#pending > 0;
  }

  /** Resolves when everything that is under way now is done, or has failed. */
  get done() {
    return this.#last;
  }

  owes(/** @type {string} */ path) {
    return this.#owed.has(path);
  }

  // A failure does not stop the ones behind it.
  do(/** @type {() => unknown} */ act) {
    this.#pending += 1;
    this.#last = this.#last.then(act).catch(this.#failed).finally(() => { this.#pending -= 1; });
  }

  /** This path is to be removed from the workspace. */
  owe(/** @type {string} */ path) {
    this.#owed.add(path);
    this.do(() => this.#pay(path));
  }

  /** The path exists again, and must not be removed. */
  forgive(/** @type {string} */ path) {
    this.#owed.delete(path);
  }

  async #pay(/** @type {string} */ path) {
    if (!this.#owed.has(path)) return;
    try {
      await this.#remote.remove(path);
    } catch (error) {
      // Removed already, as intended.
      if (codeOf(error) !== 'no_file') throw error;
    }
    this.#owed.delete(path);
  }

  /** @returns {Promise<boolean>} false if something that was to be removed is still there */
  async settle() {
    await this.#last;
    for (const path of [...this.#owed]) await this.#pay(path).catch(this.#failed);
    return this.#owed.size === 0;
  }
}
