// The projects of this browser, in IndexedDB: changes are written record by record, each with a version.
//
// A record is a file (`file:PATH`: a text, or bytes) or an option of a project (`option:NAME`). A writer names the
// version that it knows; if another page has written since, nothing is replaced, and the writer gets the present
// record. All pages of this browser are informed of each write.
import { Emitter } from './events.js';

/** @typedef {import('./types.js').Value} Value */
/** @typedef {{id: string, language: string, name: string, used: number}} Kept project; `used`: when, in ms since 1970 */
/**
 * @typedef {{projects: {key: string, value: Kept, indexes: {language: string}}, records: {key: [string, string], value: import('./types.js').Versioned},
 *   histories: {key: [string, string], value: import('./types.js').History}}} Schema the keys of records are [project, name], of histories [project, path]
 */
/** @typedef {{type: 'changed', project: string, names: string[]} | {type: 'projects', removed?: string}} Told: a message to other pages */

const VERSION = 1;
const MAX_HISTORY = 256 * 1024; // characters of a file's undo history

const same = (/** @type {Value} */ a, /** @type {Value} */ b) => a === b || (a instanceof Uint8Array && b instanceof Uint8Array && a.length === b.length && a.every((byte, at) => byte === b[at]))
  || (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b) && !(a instanceof Uint8Array));

/** Events caused by other pages. @extends {Emitter<{changed: {project: string, names: string[]}, projects: {removed?: string}}>} */
export class Library extends Emitter {
  #db;
  #channel;

  /**
   * @param channel a BroadcastChannel or an equivalent
   * @returns {Promise<Library>} raises if this browser has no storage
   */
  static async open(/** @type {{openDB: typeof import('idb').openDB, channel: Pick<BroadcastChannel, 'postMessage' | 'onmessage' | 'close'>, name?: string, lost?: () => void}} */ { openDB, channel, name = 'coderunner', lost = () => {} }) {
    /** @type {import('idb').IDBPDatabase<Schema>} */ const db = await openDB(name, VERSION, {
      upgrade(fresh) {
        fresh.createObjectStore('projects', { keyPath: 'id' }).createIndex('language', 'language');
        fresh.createObjectStore('records'); // [project, name] -> {value, version}
        fresh.createObjectStore('histories'); // [project, path] -> {digest, json}
      },
      blocking: (_current, _blocked, event) => /** @type {IDBDatabase} */ (event.target).close(), // a later page needs another version
      terminated: lost,
    });
    return new Library(db, channel);
  }

  constructor(/** @type {import('idb').IDBPDatabase<Schema>} */ db, /** @type {Pick<BroadcastChannel, 'postMessage' | 'onmessage' | 'close'>} */ channel) {
    super();
    this.#db = db;
    this.#channel = channel;
    channel.onmessage = (/** @type {MessageEvent<Told>} */ { data }) => (data.type === 'changed' ? this.emit('changed', data) : this.emit('projects', data));
  }

  close() {
    this.#channel.close();
    this.#db.close();
  }

  /** @returns {Promise<Kept[]>} the last used first */
  async projects(/** @type {string} */ language) {
    const all = await this.#db.getAllFromIndex('projects', 'language', language);
    return all.sort((a, b) => b.used - a.used);
  }

  project(/** @type {string} */ id) {
    return this.#db.get('projects', id);
  }

  /**
   * @param records name -> value
   * @returns {Promise<boolean>} false if a project of this id exists already, which is not changed
   */
  async create(/** @type {{id: string, language: string, name: string}} */ { id, language, name }, /** @type {Record<string, Value>} */ records) {
    const tx = this.#db.transaction(['projects', 'records'], 'readwrite');
    const there = await tx.objectStore('projects').get(id);
    if (!there) {
      // In one transaction: two tabs cannot both create it.
      tx.objectStore('projects').put({ id, language, name, used: Date.now() });
      for (const [key, value] of Object.entries(records)) tx.objectStore('records').put({ value, version: Date.now() }, [id, key]);
    }
    await tx.done;
    if (!there) this.#tell({ type: 'projects' });
    return !there;
  }

  /** Sets another name, or only that it was used now. */
  async touch(/** @type {string} */ id, /** @type {{name?: string}} */ change = {}) {
    const tx = this.#db.transaction('projects', 'readwrite');
    const project = await tx.store.get(id);
    if (project) tx.store.put({ ...project, ...change, used: Date.now() });
    await tx.done;
    if (project && change.name) this.#tell({ type: 'projects' });
  }

  async remove(/** @type {string} */ id) {
    const tx = this.#db.transaction(['projects', 'records', 'histories'], 'readwrite');
    // With its records, or they would stay without a project.
    tx.objectStore('projects').delete(id);
    for (const store of /** @type {const} */ (['records', 'histories'])) tx.objectStore(store).delete(range(id));
    await tx.done;
    this.#tell({ type: 'projects', removed: id });
  }

  /** @returns {Promise<Map<string, import('./types.js').Versioned>>} of a project, by name */
  async load(/** @type {string} */ id) {
    // In one transaction, so that keys and values belong together.
    const tx = this.#db.transaction('records');
    const [keys, values] = await Promise.all([tx.store.getAllKeys(range(id)), tx.store.getAll(range(id))]);
    return new Map(keys.map(([, name], at) => [name, values[at]]));
  }

  /** @returns {Promise<Map<string, import('./types.js').Versioned | undefined>>} */
  async read(/** @type {string} */ id, /** @type {string[]} */ names) {
    const tx = this.#db.transaction('records');
    const found = await Promise.all(names.map((name) => tx.store.get([id, name])));
    return new Map(names.map((name, at) => [name, found[at]]));
  }

  /**
   * Writes all changes in one transaction, except where another page has written since.
   * @param {import('./types.js').Change[]} changes value null: deletes it
   * @returns {Promise<{versions: Map<string, number | null>, conflicts: Map<string, import('./types.js').Versioned | undefined>}>}
   */
  async write(/** @type {string} */ id, changes) {
    const versions = new Map();
    const conflicts = new Map();
    const tx = this.#db.transaction('records', 'readwrite');
    const written = [];
    try {
      for (const { name, value, base } of changes) {
        const there = await tx.store.get([id, name]);
        const gone = there === undefined && value === null;
        // Both have written the same: that is no conflict.
        if (gone || (there && same(there.value, value))) versions.set(name, there?.version ?? null);
        else if ((there?.version ?? null) !== base) conflicts.set(name, there);
        else {
          // Versions are times, but always above the one before, whatever the clock does.
          const version = value === null ? null : Math.max(Date.now(), (base ?? 0) + 1);
          if (value === null) tx.store.delete([id, name]);
          else tx.store.put({ value, version }, [id, name]);
          versions.set(name, version);
          written.push(name);
        }
      }
    } catch (error) {
      tx.done.catch(() => {}); // the same error
      throw error;
    }
    await tx.done;
    if (written.length) this.#tell({ type: 'changed', project: id, names: written });
    return { versions, conflicts };
  }

  /** @returns {Promise<Map<string, import('./types.js').History>>} by path */
  async histories(/** @type {string} */ id) {
    const tx = this.#db.transaction('histories');
    const [keys, values] = await Promise.all([tx.store.getAllKeys(range(id)), tx.store.getAll(range(id))]);
    return new Map(keys.map(([, path], at) => [path, values[at]]));
  }

  /** Stores the undo history of a file whose text has this digest; one that is too long is not kept. */
  async keepHistory(/** @type {string} */ id, /** @type {string} */ path, /** @type {string} */ digest, /** @type {string} */ json) {
    if (json.length > MAX_HISTORY) await this.#db.delete('histories', [id, path]);
    else await this.#db.put('histories', { digest, json }, [id, path]);
  }

  #tell(/** @type {Told} */ message) {
    this.#channel.postMessage(message);
  }
}

/** All keys of a project: in IndexedDB an array sorts after every string. */
const range = (/** @type {string} */ id) => globalThis.IDBKeyRange.bound([id], [id, []]);
