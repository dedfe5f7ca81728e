// A minimal event source. `on` returns the function that removes the listener.

export class Emitter {
  /** @type {Map<string, Set<(detail: any) => unknown>>} */ #listeners = new Map();

  on(/** @type {string} */ type, /** @type {(detail: any) => unknown} */ listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  emit(/** @type {string} */ type, /** @type {any} */ detail = undefined) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) listener(detail);
  }
}
