// The projects of this browser, in IndexedDB: what changed is written, record by record, each with a version.
//
// A record is a file (`file:PATH`: a text, or bytes) or an option of a project (`option:NAME`). Who writes one says which
// version it knows; where another page wrote since, nothing is replaced, and the writer is told what is there. All pages
// of this browser hear of each write.
import { Emitter } from './events.js';

/** @typedef {import('./types.js').Value} Value */
/** @typedef {{id: string, language: string, name: string, used: number}} Kept project; `used`: when, in ms since 1970 */
/**
 * @typedef {{projects: {key: string, value: Kept, indexes: {language: string}}, records: {key: [string, string], value: import('./types.js').Versioned},
 *   histories: {key: [string, string], value: import('./types.js').History}}} Schema the keys of records are [project, name], of histories [project, path]
 */
/** @typedef {{type: 'changed', project: string, names: string[]} | {type: 'projects', removed?: string}} Told to other pages */

const VERSION = 1;
const MAX_HISTORY = 256 * 1024; // characters of what can be undone in a file

const same = (/** @type {Value} */ a, /** @type {Value} */ b) => a === b || (a instanceof Uint8Array && b instanceof Uint8Array && a.length === b.length && a.every((byte, at) => byte === b[at]))
  || (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b) && !(a instanceof Uint8Array));

/** Events of other pages. @extends {Emitter<{changed: {project: string, names: string[]}, projects: {removed?: string}}>} */
export class Library extends Emitter {
  #db;
  #channel;

  /**
   * @param channel a BroadcastChannel or its like
   * @returns {Promise<Library>} raises where this browser keeps nothing
   */
  static async open(/** @type {{openDB: typeof import('idb').openDB, channel: Pick<BroadcastChannel, 'postMessage' | 'onmessage' | 'close'>, name?: string, lost?: () => void}} */ { openDB, channel, name = 'coderunner', lost = () => {} }) {
    /** @type {import('idb').IDBPDatabase<Schema>} */ const db = await openDB(name, VERSION, {
      upgrade(fresh) {
        fresh.createObjectStore('projects', { keyPath: 'id' }).createIndex('language', 'language');
        fresh.createObjectStore('records'); // [project, name] -> {value, version}
        fresh.createObjectStore('histories'); // [project, path] -> {digest, json}
      },
      blocking: (_current, _blocked, event) => /** @type {IDBDatabase} */ (event.target).close(), // a later page of another version
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

  /** @returns {Promise<Kept[]>} the latest used first */
  async projects(/** @type {string} */ language) {
    const all = await this.#db.getAllFromIndex('projects', 'language', language);
    return all.sort((a, b) => b.used - a.used);
  }

  project(/** @type {string} */ id) {
    return this.#db.get('projects', id);
  }

  /**
   * @param records name -> value
   * @returns {Promise<boolean>} false where there is one of this id already: it stays as it is
   */
  async create(/** @type {{id: string, language: string, name: string}} */ { id, language, name }, /** @type {Record<string, Value>} */ records) {
    const tx = this.#db.transaction(['projects', 'records'], 'readwrite');
    const there = await tx.objectStore('projects').get(id);
    if (!there) {
      tx.objectStore('projects').put({ id, language, name, used: Date.now() });
      for (const [key, value] of Object.entries(records)) tx.objectStore('records').put({ value, version: Date.now() }, [id, key]);
    }
    await tx.done;
    if (!there) this.#tell({ type: 'projects' });
    return !there;
  }

  /** Another name, or that it was used just now. */
  async touch(/** @type {string} */ id, /** @type {{name?: string}} */ change = {}) {
    const tx = this.#db.transaction('projects', 'readwrite');
    const project = await tx.store.get(id);
    if (project) tx.store.put({ ...project, ...change, used: Date.now() });
    await tx.done;
    if (project && change.name) this.#tell({ type: 'projects' });
  }

  async remove(/** @type {string} */ id) {
    const tx = this.#db.transaction(['projects', 'records', 'histories'], 'readwrite');
    tx.objectStore('projects').delete(id);
    for (const store of /** @type {const} */ (['records', 'histories'])) tx.objectStore(store).delete(range(id));
    await tx.done;
    this.#tell({ type: 'projects', removed: id });
  }

  /** @returns {Promise<Map<string, import('./types.js').Versioned>>} of a project, by name */
  async load(/** @type {string} */ id) {
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
   * Writes all at once, but what another page changed since.
   * @param {import('./types.js').Change[]} changes value null: it goes
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
        if (gone || (there && same(there.value, value))) versions.set(name, there?.version ?? null);
        else if ((there?.version ?? null) !== base) conflicts.set(name, there);
        else {
          const version = value === null ? null : Math.max(Date.now(), (base ?? 0) + 1);
          if (value === null) tx.store.delete([id, name]);
          else tx.store.put({ value, version }, [id, name]);
          versions.set(name, version);
          written.push(name);
        }
      }
    } catch (error) {
      tx.done.catch(() => {}); // it is the same error
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

  /** What can be undone in a file whose text has this digest; too much of it is not kept. */
  async keepHistory(/** @type {string} */ id, /** @type {string} */ path, /** @type {string} */ digest, /** @type {string} */ json) {
    if (json.length > MAX_HISTORY) await this.#db.delete('histories', [id, path]);
    else await this.#db.put('histories', { digest, json }, [id, path]);
  }

  #tell(/** @type {Told} */ message) {
    this.#channel.postMessage(message);
  }
}

/** All keys of a project: an array sorts behind every text. */
const range = (/** @type {string} */ id) => globalThis.IDBKeyRange.bound([id], [id, []]);
