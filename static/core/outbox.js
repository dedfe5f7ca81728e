// Changes on their way to a workspace: one after the other, in the order in which the user made them. A file that is to
// go and could not be deleted yet is owed, and tried again before a program runs.

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

  /** What is under way now is done, or has failed. */
  get done() {
    return this.#last;
  }

  owes(/** @type {string} */ path) {
    return this.#owed.has(path);
  }

  do(/** @type {() => unknown} */ act) {
    this.#pending += 1;
    this.#last = this.#last.then(act).catch(this.#failed).finally(() => { this.#pending -= 1; });
  }

  /** This path is to go from the workspace. */
  owe(/** @type {string} */ path) {
    this.#owed.add(path);
    this.do(() => this.#pay(path));
  }

  /** It is there again, and is to stay. */
  forgive(/** @type {string} */ path) {
    this.#owed.delete(path);
  }

  async #pay(/** @type {string} */ path) {
    if (!this.#owed.has(path)) return;
    try {
      await this.#remote.remove(path);
    } catch (error) {
      if (codeOf(error) !== 'no_file') throw error;
    }
    this.#owed.delete(path);
  }

  /** @returns {Promise<boolean>} false where something that is to go is there still */
  async settle() {
    await this.#last;
    for (const path of [...this.#owed]) await this.#pay(path).catch(this.#failed);
    return this.#owed.size === 0;
  }
}
