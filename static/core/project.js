// The files of a project, what is open, and how it runs. Changes are written after SAVE_AFTER_MS, record by record; changes
// of other pages of this browser are taken over.
import { Emitter } from './events.js';
import { texts } from './texts.js';

// So that fast typing is one write.
const SAVE_AFTER_MS = 400;
// After a failed write.
const AGAIN_MS = 5000;
/** @type {Omit<import('./types.js').Options, 'entry'> & {entry: string | null}} */
const OPTIONS = { entry: null, args: [], env: '', stdin: null, mode: 'tty', sample: null, touched: false };
const SHARED = /** @type {(keyof import('./types.js').Options)[]} */ (Object.keys(OPTIONS));

/** @typedef {import('./types.js').Content} Content */
/** @typedef {import('./types.js').Value} Value */

const fileName = (/** @type {string} */ path) => `file:${path}`;
const optionName = (/** @type {string} */ option) => `option:${option}`;

/** Path to text or bytes. A text may be given as a function, which is called when the text is needed. */
/** @extends {Map<string, Content | (() => string)>} */
class Contents extends Map {
  /** @returns {Content | undefined} */
  get(/** @type {string} */ path) {
    const value = super.get(path);
    if (typeof value !== 'function') return value;
    const text = value();
    this.set(path, text);
    return text;
  }
}

/** The records of a new project. @returns {Record<string, Value>} */
export function recordsOf(/** @type {import('./types.js').Language} */ language, /** @type {import('./types.js').Sample | null | undefined} */ sample) {
  const files = sample?.files ?? [{ path: language.entry, content: '' }];
  const options = { ...OPTIONS, entry: sample?.entry ?? language.entry, args: sample?.args ?? [], sample: sample?.name ?? null };
  return {
    ...Object.fromEntries(files.map(({ path, content }) => [fileName(path), content])),
    ...Object.fromEntries(SHARED.map((option) => [optionName(option), options[option]])),
  };
}

/** `main.py` or `main (2).py` to `main (2).py`, or the next free number. A year, as in `report (2024).txt`, is not the number of a copy. */
export function copyName(/** @type {string} */ path, /** @type {(name: string) => boolean} */ taken) {
  const slash = path.lastIndexOf('/') + 1;
  // From the first dot on, so that `.tar.gz` stays together; a name's leading dot is no extension.
  const dot = path.indexOf('.', slash + 1) < 0 ? path.length : path.indexOf('.', slash + 1);
  const stem = path.slice(0, dot).replace(/ \(\d{1,2}\)$/, '');
  for (let number = 2; ; number += 1) {
    const name = `${stem} (${number})${path.slice(dot)}`;
    if (!taken(name)) return name;
  }
}

/**
 * Files that a program made can be open as well: `guests`, which belong to the workspace until they are edited.
 *
 * Events: `files` (names, what is open or active), `text` (path), `taken` (path: its text was changed elsewhere),
 * `renamed` {from, to}, `adopted` {path, text} (a guest is edited; `text` is what it was), `saved` (paths),
 * `split` {path, copy} (two pages changed it: the copy is this page's), `restored` (path: another page needs it),
 * `unsaved` (an Error, or null when writing works again).
 * @extends {Emitter<{files: undefined, text: string, taken: string, renamed: {from: string, to: string}, adopted: {path: string, text: string},
 *   saved: string[], split: {path: string, copy: string}, restored: string, unsaved: Error | null}>}
 */
export class Project extends Emitter {
  #library;
  #forgotten = false;
  #timers;
  /** @type {number | null} of `timers` */ #timer = null;
  /** @type {Promise<void> | null} */ #saving = null;
  /** @type {Map<string, number | null>} */ #versions = new Map(); // record -> the version that is known here
  /** @type {Set<string>} */ #dirty = new Set(); // records
  /** @type {string[]} */ #writing = []; // records that are on their way
  /** @type {Map<string, string>} */ guests = new Map();
  id = '';
  /** @type {Map<string, import('./types.js').History>} */ histories = new Map(); // undo histories, by path
  name = '';
  entry = '';
  /** @type {string | null} */ stdin = null;
  language;
  /** @type {string[]} */ args = [];
  env = '';
  /** @type {'tty' | 'pipe'} */ mode = 'tty';
  /** @type {string | null} */ sample = null;
  touched = false;

  /**
   * @param {{library: import('./library.js').Library | null, language: import('./types.js').Language, id: string, name: string,
   *   records: Map<string, import('./types.js').Versioned>, view?: import('./types.js').View | null, timers?: import('./types.js').Timers}} parts
   *   `library` null: nothing is stored; `view`: of this page
   */
  constructor({ library, language, id, name, records, view = null, timers = globalThis }) {
    super();
    this.#library = library;
    this.#timers = timers;
    this.language = language;
    // A copy, as the arrays of the defaults are shared.
    Object.assign(this, { id, name, ...structuredClone(OPTIONS), entry: language.entry });
    this.files = new Contents();
    for (const [record, { value, version }] of records) this.#set(record, value, version);
    // A file may have been deleted, or have become binary, since the page was last open.
    const open = (view?.open ?? [this.entry]).filter((path) => this.#isText(path));
    this.open = open;
    const active = view?.active ?? null;
    /** @type {string | null} */ this.active = active !== null && open.includes(active) ? active : (open.at(-1) ?? null);
    /** @type {Error | null} */ this.trouble = null;
  }

  #isText(/** @type {string} */ path) {
    return this.files.has(path) && !this.binary(path);
  }

  #set(/** @type {string} */ record, /** @type {Value} */ value, /** @type {number | null} */ version) {
    this.#versions.set(record, version);
    if (record.startsWith('file:')) this.files.set(record.slice(5), /** @type {Content} */ (value));
    // Unknown options are of a newer version, and are ignored.
    else if (SHARED.some((option) => optionName(option) === record)) Object.assign(this, { [record.slice(7)]: value });
  }

  // --- reading ------------------------------------------------------------------------------------------------

  get paths() {
    return [...this.files.keys()].sort((a, b) => a.localeCompare(b));
  }

  /** @returns {import('./types.js').File[]} */
  list() {
    return this.paths.map((path) => ({ path, content: this.files.get(path) ?? '' }));
  }

  text(/** @type {string} */ path) {
    const content = this.files.get(path) ?? this.guests.get(path);
    return typeof content === 'string' ? content : '';
  }

  /** Everything as records, for a page that stores nothing. */
  records() {
    const names = [...this.paths.map(fileName), ...SHARED.map(optionName)];
    return new Map(names.map((name) => [name, { value: this.#value(name), version: null }]));
  }

  /** Whether a file is not a text. */
  binary(/** @type {string} */ path) {
    return this.files.get(path) instanceof Uint8Array;
  }

  get unsaved() {
    return this.#dirty.size > 0 || this.#saving !== null;
  }

  // --- changing -----------------------------------------------------------------------------------------------

  /** @param content a text, or a function that returns it when needed */
  edit(/** @type {string} */ path, /** @type {import('./types.js').Content | (() => string)} */ content) {
    const guest = this.guests.get(path);
    this.guests.delete(path);
    this.files.set(path, content);
    this.#touch();
    this.#changed(fileName(path));
    if (guest !== undefined) {
      this.emit('adopted', { path, text: guest });
      this.emit('files');
    }
    this.emit('text', path);
  }

  /** Opens a file that a program made. */
  visit(/** @type {string} */ path, /** @type {string} */ text) {
    if (!this.files.has(path)) this.guests.set(path, text);
    this.show(path);
  }

  /** A program wrote a file of the project, or one that is open. */
  take(/** @type {string} */ path, /** @type {import('./types.js').Content} */ content) {
    if (this.files.has(path)) {
      this.files.set(path, content);
      this.#changed(fileName(path));
    // Of a guest nothing is written: it is the workspace's.
    } else if (typeof content === 'string') this.guests.set(path, content);
    this.emit('taken', path);
  }

  /** A guest was deleted, or cannot be shown any more. */
  shut(/** @type {string} */ path) {
    if (this.guests.has(path)) this.hide(path);
  }

  create(/** @type {string} */ path, content = '') {
    this.put([{ path, content }]);
    this.show(path);
  }

  /** Adds files, and replaces those of the same names. */
  put(/** @type {import('./types.js').File[]} */ files) {
    for (const { path, content } of files) {
      this.guests.delete(path);
      this.files.set(path, content);
      // A file that is not a text cannot be open.
      if (content instanceof Uint8Array) this.open = this.open.filter((other) => other !== path);
      this.#changed(fileName(path));
    }
    if (this.active !== null && !this.open.includes(this.active)) this.active = this.open.at(-1) ?? null;
    this.#touch();
    this.emit('files');
    for (const { path } of files) this.emit('taken', path);
  }

  rename(/** @type {string} */ from, /** @type {string} */ to) {
    const content = this.files.get(from);
    if (content === undefined) return;
    this.files.delete(from);
    this.files.set(to, content);
    this.open = this.open.map((path) => (path === from ? to : path));
    if (this.active === from) this.active = to;
    // The options follow the file.
    for (const option of /** @type {const} */ (['entry', 'stdin'])) if (this[option] === from) this.set({ [option]: to });
    this.#changed(fileName(from), fileName(to));
    this.#touch();
    this.emit('renamed', { from, to });
    this.emit('files');
  }

  remove(/** @type {string} */ path) {
    this.files.delete(path);
    this.#changed(fileName(path));
    this.#touch();
    // Something must be the entry: the language's usual one, or the first file.
    if (this.entry === path) this.set({ entry: this.files.has(this.language.entry) ? this.language.entry : (this.paths[0] ?? this.language.entry) });
    if (this.stdin === path) this.set({ stdin: null });
    this.hide(path);
  }

  show(/** @type {string} */ path) {
    if (!this.open.includes(path)) this.open.push(path);
    this.active = path;
    this.emit('files');
  }

  hide(/** @type {string} */ path) {
    const at = this.open.indexOf(path);
    this.guests.delete(path);
    this.open = this.open.filter((other) => other !== path);
    // The neighbour takes its place.
    if (this.active === path) this.active = this.open[Math.min(at, this.open.length - 1)] ?? null;
    this.emit('files');
  }

  /** Options: entry, args, env, stdin, mode. */
  set(/** @type {Partial<import('./types.js').Options>} */ change) {
    Object.assign(this, change);
    this.#changed(...Object.keys(change).map(optionName));
    this.emit('files');
  }

  #touch() {
    if (this.touched) return;
    this.touched = true;
    this.#changed(optionName('touched'));
  }

  // --- storing ------------------------------------------------------------------------------------------------

  #changed(/** @type {string[]} */ ...records) {
    for (const record of records) this.#dirty.add(record);
    this.#later(SAVE_AFTER_MS);
  }

  #later(/** @type {number} */ ms) {
    this.#timers.clearTimeout(this.#timer);
    this.#timer = this.#timers.setTimeout(() => this.save(), ms);
  }

  /** @returns {Value} */
  #value(/** @type {string} */ record) {
    return record.startsWith('file:') ? (this.files.get(record.slice(5)) ?? null) : this[/** @type {keyof import('./types.js').Options} */ (record.slice(7))];
  }

  /** Changes that are not written yet, for a page that ends: texts and options. */
  pending() {
    return [...new Set([...this.#dirty, ...this.#writing])].map((name) => ({ name, value: this.#value(name), base: this.#versions.get(name) ?? null }))
      // The synchronous storage has only texts.
      .filter(({ value }) => !(value instanceof Uint8Array));
  }

  /** Changes that an earlier page could not write any more. @param changes of its `pending()` */
  restore(/** @type {import('./types.js').Change[]} */ changes) {
    for (const { name, value, base } of changes) {
      const now = this.#value(name);
      if (now === value || JSON.stringify(now) === JSON.stringify(value)) continue;
      const known = this.#versions.get(name) ?? null;
      // Nobody has written since: the change is made again.
      if (known === base) {
        if (name.startsWith('file:') && value === null) this.files.delete(name.slice(5));
        else if (name.startsWith('file:')) this.files.set(name.slice(5), /** @type {Content} */ (value));
        else Object.assign(this, { [name.slice(7)]: value });
        this.#changed(name);
      // Another page has written since: both versions are kept.
      } else if (name.startsWith('file:') && value !== null) {
        const path = name.slice(5);
        const copy = copyName(path, (other) => this.files.has(other));
        this.files.set(copy, /** @type {Content} */ (value));
        this.#changed(fileName(copy));
      }
    }
    this.open = this.open.filter((/** @type {string} */ path) => this.#isText(path));
    if (this.active === null || !this.open.includes(this.active)) this.active = this.open.at(-1) ?? null;
  }

  /** A new library replaces one that was lost: it may have the whole project, or nothing. */
  keepIn(/** @type {import('./library.js').Library} */ library) {
    this.#library = library;
    this.#changed(...this.records().keys());
  }

  /** Another page removed the project: nothing of it is written any more, as a new one may have its id. */
  forget() {
    this.#timers.clearTimeout(this.#timer);
    this.#forgotten = true;
  }

  /** Writes the changes. @returns {Promise<boolean>} whether everything is stored */
  async save() {
    this.#timers.clearTimeout(this.#timer);
    if (this.#forgotten) return true;
    // One write at a time, so that versions are known.
    while (this.#saving) await this.#saving;
    if (!this.#dirty.size) return this.trouble === null;
    if (!this.#library) {
      this.#troubled(new Error(texts.projects.unsaved));
      return false;
    }
    const names = [...this.#dirty];
    const changes = names.map((name) => ({ name, value: this.#value(name), base: this.#versions.get(name) ?? null }));
    // Changes from here on belong to the next write.
    this.#dirty.clear();
    this.#writing = names;
    this.#saving = this.#library.write(this.id, changes).then((result) => this.#written(changes, result), (/** @type {Error} */ error) => {
      for (const name of names) this.#dirty.add(name);
      this.#troubled(error);
      this.#later(AGAIN_MS);
    }).finally(() => {
      this.#saving = null;
      this.#writing = [];
    });
    await this.#saving;
    return this.trouble === null;
  }

  #troubled(/** @type {Error | null} */ error) {
    const before = this.trouble;
    this.trouble = error;
    // Reported once, and not with each attempt.
    if (Boolean(before) !== Boolean(error)) this.emit('unsaved', error);
  }

  #written(/** @type {import('./types.js').Change[]} */ changes, /** @type {{versions: Map<string, number | null>, conflicts: Map<string, import('./types.js').Versioned | undefined>}} */ { versions, conflicts }) {
    this.#troubled(null);
    for (const [name, version] of versions) {
      if (version === null) this.#versions.delete(name);
      else this.#versions.set(name, version);
    }
    for (const [name, there] of conflicts) this.#conflict(name, there, changes.find((change) => change.name === name)?.value);
    const paths = changes.map(({ name }) => name).filter((name) => name.startsWith('file:') && versions.has(name)).map((name) => name.slice(5));
    if (paths.length) this.emit('saved', paths);
  }

  /** Another page has written a record since: neither version is lost. */
  #conflict(/** @type {string} */ name, /** @type {import('./types.js').Versioned | undefined} */ there, /** @type {Value | undefined} */ mine) {
    if (there) this.#versions.set(name, there.version);
    else this.#versions.delete(name);
    if (!name.startsWith('file:') || !there) {
      this.#changed(name); // an option: the last writer wins; a file that was deleted there was changed here, and stays
      return;
    }
    const path = name.slice(5);
    const theirs = /** @type {Content} */ (there.value);
    // Deleted here, and changed there: the change is kept.
    if (mine === null) {
      this.files.set(path, theirs);
      this.emit('restored', path);
      this.emit('files');
      return;
    }
    // Changed in both: the other page's version keeps the name, as more pages may know it.
    const copy = copyName(path, (other) => this.files.has(other) || this.guests.has(other));
    this.files.set(copy, this.files.get(path) ?? /** @type {Content} */ (mine));
    this.files.set(path, theirs);
    this.open = this.open.map((other) => (other === path ? copy : other));
    if (this.active === path) this.active = copy;
    this.#changed(fileName(copy));
    this.emit('split', { path, copy });
    this.emit('files');
  }

  /** Another page has written these records. */
  async told(/** @type {string[]} */ names) {
    if (!this.#library) return;
    const found = await this.#library.read(this.id, names);
    let drawn = false;
    for (const [name, there] of found) {
      if (this.#dirty.has(name) || this.#saving) {
        if (this.#saving) await this.#saving;
        if (this.#dirty.has(name)) continue; // the next write detects the conflict
      }
      // This page's own write, or an older one.
      if (there && (there.version ?? 0) <= (this.#versions.get(name) ?? -1)) continue;
      drawn = true;
      if (!there) this.#gone(name);
      else {
        this.#set(name, there.value, there.version);
        if (name.startsWith('file:')) this.emit('taken', name.slice(5));
      }
    }
    if (drawn) this.emit('files');
  }

  #gone(/** @type {string} */ name) {
    this.#versions.delete(name);
    if (!name.startsWith('file:')) return;
    const path = name.slice(5);
    this.files.delete(path);
    this.open = this.open.filter((other) => other !== path);
    if (this.active === path) this.active = this.open.at(-1) ?? null;
  }

  /** Another project is shown in this page. */
  async close() {
    this.#timers.clearTimeout(this.#timer);
    await this.save();
    // The write may have set it again.
    this.#timers.clearTimeout(this.#timer);
  }
}
