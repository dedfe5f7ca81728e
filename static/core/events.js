// A minimal event emitter. `on` returns the function that removes the listener.

/** @template {object} Events the detail of each event, by its name */
export class Emitter {
  /** @type {{[Type in keyof Events]?: Set<(detail: Events[Type]) => unknown>}} */ #listeners = {};

  /** @template {keyof Events} Type @param {Type} type @param {(detail: Events[Type]) => unknown} listener */
  on(type, listener) {
    const listeners = this.#listeners[type] ??= new Set();
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** @template {keyof Events} Type @param {Type} type @param {undefined extends Events[Type] ? [detail?: Events[Type]] : [detail: Events[Type]]} told */
  emit(type, ...told) {
    // A copy, as a listener may remove itself.
    for (const listener of [...(this.#listeners[type] ?? [])]) listener(/** @type {Events[Type]} */ (told[0]));
  }
}
