// A project beside the workspace of its session: what each has that the other lacks, and who changed what.
//
// The workspace gets the project's files with each run, but only those that it does not have as they are. A file that
// a program changed is taken over where the user did not change it since; where both did, it is a conflict, and
// neither version is replaced before the user has chosen.
import { textOf, utf8 } from './bytes.js';
import { digest } from './digest.js';
import { Emitter } from './events.js';
import { codeOf, retryable } from './faults.js';
import { Outbox } from './outbox.js';
import { parcels } from './parcels.js';

export const MAX_TEXT = 1024 * 1024; // bytes of a file that is opened as text
const AGAIN_MS = 1000;
const MANY = 1000; // entries, from which on a listing costs enough that the next one waits
const REST_MS = 2000;
const MANY_AT_ONCE = 16; // files, from which on their contents are fetched together
const MAX_TOGETHER = 16 * 1024 * 1024; // bytes of a workspace that is fetched as a whole
/** Refusals of an archive whose files may be taken one by one: a server may be set to less than the usual. */
const AS_ARCHIVE = new Set(['too_many_files', 'file_too_large', 'bad_archive', 'bad_path']);

const MAX_BYTES = 16 * 1024 * 1024; // of a file of the project that is no text
const MAX_SENT = 256 * 1024; // characters of a file that travels in the message of a run
/** Bytes of files that travel with what opens a session: of the 64 KiB that a server takes before, as JSON. */
export const FIRST_ROOM = 48 * 1024;
/** Bytes of files that travel with a run: of the 2 MiB that a server takes, as JSON; arguments and input go along. */
export const RUN_ROOM = 1024 * 1024;

/** @typedef {{digest: string | null, stamp: string | null, writing: boolean}} Known of a file in the workspace */

/** Whether a file travels in a message at all. @param {import('./types.js').File} file @returns {file is import('./types.js').TextFile} */
export const isText = (file) => typeof file.content === 'string' && file.content.length <= MAX_SENT;

/**
 * Whether these files travel in one message that has so much room for them; else each goes to the workspace by itself.
 * @param {import('./types.js').File[]} files @param {number} room in bytes @returns {files is import('./types.js').TextFile[]}
 */
export function fits(files, room) {
  let characters = 0; // a quick look: most projects have a few thousand, and a character is a byte at least
  for (const file of files) {
    characters += file.path.length + file.content.length;
    if (!isText(file) || characters > room) return false;
  }
  return utf8(JSON.stringify(files)).length <= room;
}

const bytesOf = (/** @type {import('./types.js').Content} */ content) => (typeof content === 'string' ? utf8(content) : content);
const stampOf = (/** @type {{size: number, mtime_ms: number}} */ { size, mtime_ms }) => `${size}.${mtime_ms}`;

/**
 * `project`: {files: Map path -> text, guests: Map path -> text, list(), take(path, text), shut(path), on(…)}.
 *
 * Events: `change` (the listing), `over`, `conflict` path, `settled` path, `failed` an error that the user should know of.
 * @extends {Emitter<{change: undefined, over: undefined, conflict: string, settled: string, failed: unknown}>}
 */
export class Mirror extends Emitter {
  #remote;
  #timers;
  #pack;
  #unpack;
  /** @type {import('./project.js').Project | null} */ #project = null;
  /** @type {(() => unknown)[]} */ #stop = [];
  /** @type {Map<string, Known>} */ #base = new Map(); // path -> {digest, stamp, writing}: what the workspace has from us, as far as is known
  /** @type {Map<string, string | null>} */ #guests = new Map(); // path -> stamp of the version that is open
  #outbox;
  /** @type {Promise<void> | null} */ #refreshing = null;
  #stale = false;
  #resting = false;
  #epoch = 0; // grows with each write of ours: what was read before it says nothing
  /** @type {number | null} of `timers` */ #timer = null;

  /**
   * @param {{remote: import('./remote.js').Remote, timers: import('./types.js').Timers, sent?: Record<string, [string | null, string | null]>,
   *   pack(files: import('./parcels.js').Packed[]): Promise<Uint8Array<ArrayBuffer>>,
   *   unpack(archive: Uint8Array<ArrayBuffer>): Promise<import('./parcels.js').Packed[]>}} parts
   *   `sent`: the `record()` of an earlier page; `pack` makes a zip archive, and `unpack` reads one
   */
  constructor({ remote, timers, sent = {}, pack, unpack }) {
    super();
    this.#remote = remote;
    this.#outbox = new Outbox(remote, (error) => this.#failed(error));
    this.#timers = timers;
    this.#pack = pack;
    this.#unpack = unpack;
    for (const [path, [known, stamp]] of Object.entries(sent)) this.#base.set(path, { digest: known, stamp, writing: false });
    /** @type {Map<string, import('./types.js').Entry>} */ this.entries = new Map(); // path -> {path, size, mtime_ms, folder}
    this.complete = true;
    /** @type {Map<string, {text: import('./types.js').Content | null, stamp: string}>} */ this.conflicts = new Map(); // path -> {text, stamp} of the workspace; text null: it is none
    this.over = false;
  }

  get remote() {
    return this.#remote;
  }

  get project() {
    return this.#project;
  }

  /** The project whose session it is; null while another one is shown. */
  set project(project) {
    for (const stop of this.#stop) stop();
    this.#project = project;
    this.#stop = project ? [
      project.on('renamed', ({ from, to }) => this.#renamed(from, to)),
      project.on('adopted', ({ path, text }) => this.#base.set(path, { digest: digest(text), stamp: this.#guests.get(path) ?? null, writing: false })),
      project.on('files', () => this.#prune()),
    ] : [];
    if (project) this.#prune();
  }

  // --- towards the workspace ------------------------------------------------------------------------------

  /** What the workspace lacks of the project, for a `run`. */
  toSend() {
    return (this.#project?.list() ?? []).filter(({ path, content }) => !this.conflicts.has(path) && this.#base.get(path)?.digest !== digest(content));
  }

  /** These files are on their way. @returns {{done(): void, failed(): void}} to be called when that is known */
  sending(/** @type {import('./types.js').File[]} */ files) {
    this.#epoch += 1;
    const entries = files.map(({ path, content }) => {
      /** @type {Known} */ const entry = { digest: digest(content), stamp: null, writing: true };
      this.#base.set(path, entry);
      this.#outbox.forgive(path);
      return /** @type {const} */ ([path, entry]);
    });
    return {
      done: () => {
        for (const [, entry] of entries) entry.writing = false;
      },
      failed: () => {
        for (const [path, entry] of entries) if (this.#base.get(path) === entry && entry.writing) this.#base.delete(path);
      },
    };
  }

  /** Writes what the workspace lacks, without a run: for who works in a shell. */
  push() {
    if (!this.#project || this.over) return;
    const files = this.toSend();
    if (!files.length) return;
    const sending = this.sending(files);
    this.#do(async () => {
      try {
        for (const parcel of parcels(files.map(({ path, content }) => ({ path, bytes: bytesOf(content) })))) await this.#carry(parcel);
        sending.done();
      } catch (error) {
        sending.failed();
        throw error;
      }
    });
  }

  async #carry(/** @type {import('./parcels.js').Packed[]} */ parcel) {
    if (parcel.length > 1) {
      try {
        await this.#remote.unpack(await this.#pack(parcel));
        return;
      } catch (error) {
        if (!AS_ARCHIVE.has(codeOf(error) ?? '')) throw error;
      }
    }
    for (const { path, bytes } of parcel) await this.#remote.write(path, bytes);
  }

  #renamed(/** @type {string} */ from, /** @type {string} */ to) {
    const known = this.#base.get(from);
    if (!known) return;
    this.#base.delete(from);
    this.#base.set(to, known);
    this.conflicts.delete(from);
    this.#do(async () => {
      try {
        await this.#remote.rename(from, to);
      } catch (error) {
        if (this.#base.get(to) === known) this.#base.delete(to); // the next run sends it
        this.#owe(from);
        if (codeOf(error) !== 'no_file') throw error;
      }
    });
  }

  /** Moves a folder with all that is in it, also what programs made there. False where that cannot be done at once. */
  async moveFolder(/** @type {string} */ from, /** @type {string} */ to) {
    if (!await this.settle()) return false;
    const below = (/** @type {string} */ path) => path.startsWith(`${from}/`);
    if (!this.entries.get(from)?.folder || this.entries.has(to) || [...this.#base].some(([path, { writing }]) => writing && below(path))) return false;
    this.#epoch += 1;
    await this.#remote.rename(from, to);
    for (const map of /** @type {Map<string, Known | string | null>[]} */ ([this.#base, this.#guests])) {
      for (const [path, known] of [...map].filter(([one]) => below(one))) {
        map.delete(path);
        map.set(to + path.slice(from.length), known);
      }
    }
    return true;
  }

  /** What the project has not any more goes from the workspace as well. */
  #prune() {
    for (const [path] of this.#base) {
      if (this.#project?.files.has(path)) continue;
      this.#base.delete(path);
      this.conflicts.delete(path);
      this.#owe(path);
    }
  }

  #owe(/** @type {string} */ path) {
    this.#epoch += 1;
    this.#outbox.owe(path);
  }

  #do(/** @type {() => Promise<unknown>} */ act) {
    this.#epoch += 1;
    this.#outbox.do(act);
  }

  #failed(/** @type {unknown} */ error) {
    if (codeOf(error) === 'no_session') this.over = true;
    else if (codeOf(error) !== 'unreachable') this.emit('failed', error);
  }

  get busy() {
    return this.#outbox.busy || this.#stale || this.#refreshing !== null;
  }

  /** Whether a change of the user has not arrived yet. */
  get owing() {
    return this.#outbox.busy;
  }

  /** Until the workspace is as the user left the project. @returns {Promise<boolean>} false where it could not be made so */
  async settle() {
    await this.#outbox.settle();
    await (this.#stale && !this.over ? this.#begin() : this.#refreshing);
    return this.#outbox.settle();
  }

  // --- from the workspace ---------------------------------------------------------------------------------

  /** Looks what is there; asked again while it looks, it looks once more. */
  refresh() {
    this.#stale = true;
    return this.#resting ? this.#refreshing : this.#begin();
  }

  #begin() {
    this.#refreshing ??= this.#look().finally(() => {
      this.#refreshing = null;
      if (this.#stale && !this.over && !this.#resting) this.refresh(); // asked for between its last look and now
    });
    return this.#refreshing;
  }

  async #look() {
    while (this.#stale && !this.over) {
      this.#stale = false;
      try {
        await this.#outbox.done;
        const epoch = this.#epoch;
        const { files, complete } = await this.#remote.list();
        this.entries = new Map(files.map((entry) => [entry.path, entry]));
        this.complete = complete;
        await this.#compare(epoch);
        this.emit('change');
        if (files.length > MANY) {
          this.#rest();
          return;
        }
      } catch (error) {
        this.#failed(error);
        if (retryable(error)) this.#later();
      }
    }
  }

  #rest() {
    this.#resting = true;
    this.#timers.setTimeout(() => {
      this.#resting = false;
      if (this.#stale && !this.over) this.refresh();
    }, REST_MS);
  }

  #later() {
    this.#timers.clearTimeout(this.#timer);
    this.#timer = this.#timers.setTimeout(() => this.refresh(), AGAIN_MS);
  }

  async #compare(/** @type {number} */ epoch) {
    const project = this.#project;
    if (!project) return;
    for (const [path, known] of this.#base) if (!known.writing && !this.entries.has(path)) this.#base.delete(path);
    const changed = [...project.files.keys()].flatMap((path) => this.#changedSince(path) ?? []);
    const together = await this.#together(changed);
    if (epoch !== this.#epoch || this.#project !== project) return this.#restart();
    for (const entry of changed) {
      const content = await this.#content(entry, together.get(entry.path));
      if (epoch !== this.#epoch || this.#project !== project) return this.#restart();
      this.#judge(entry.path, content, stampOf(entry));
    }
    for (const path of [...project.guests.keys()]) {
      const entry = this.entries.get(path);
      if (entry && this.#guests.get(path) === stampOf(entry)) continue;
      const text = entry && !entry.folder ? await this.#text(entry) : null;
      if (epoch !== this.#epoch || this.#project !== project) return this.#restart();
      if (!project.guests.has(path)) continue; // adopted or closed meanwhile
      if (text === null || !entry) project.shut(path);
      else {
        this.#guests.set(path, stampOf(entry));
        project.take(path, text);
      }
    }
    return undefined;
  }

  #restart() {
    this.#stale = true;
  }

  /** What the workspace has of a file, where that may be another version than is known. */
  #changedSince(/** @type {string} */ path) {
    const entry = this.entries.get(path);
    const known = this.#base.get(path);
    return entry && !entry.folder && !known?.writing && known?.stamp !== stampOf(entry) ? entry : null;
  }

  /** Of many files the contents come as one archive, unless the workspace has much besides. @param {import('./types.js').Entry[]} wanted */
  async #together(wanted) {
    /** @type {Map<string, Uint8Array<ArrayBuffer>>} */ const found = new Map();
    const sum = (/** @type {Iterable<{size: number}>} */ entries) => [...entries].reduce((total, { size }) => total + size, 0);
    const all = sum(this.entries.values());
    if (wanted.length < MANY_AT_ONCE || !this.complete || all > MAX_TOGETHER || all > 4 * sum(wanted) + FIRST_ROOM) return found;
    try {
      const archive = new Uint8Array(await (await this.#remote.archive('zip')).arrayBuffer());
      for (const { path, bytes } of await this.#unpack(archive)) found.set(path, bytes);
    } catch {
      // It broke off (a program wrote a file meanwhile), or the session is over: each is read by itself, and says so.
    }
    return found;
  }

  /** @param {import('./types.js').Entry} entry @param {Uint8Array<ArrayBuffer> | undefined} bytes where they came already */
  #content(entry, bytes) {
    const text = typeof this.#project?.files.get(entry.path) === 'string';
    if (!bytes) return text ? this.#text(entry) : this.#bytes(entry);
    if (bytes.length > (text ? MAX_TEXT : MAX_BYTES)) return null;
    return text ? textOf(bytes) : bytes;
  }

  /** A file as text; null where it is none, or too large. */
  async #text(/** @type {{path: string, size: number}} */ { path, size }) {
    if (size > MAX_TEXT) return null;
    if (!size) return ''; // of an empty file no range can be asked for
    try {
      return textOf(await this.#remote.read(path, MAX_TEXT));
    } catch (error) {
      if (codeOf(error) === 'no_file' || codeOf(error) === 'file_too_large') return null;
      throw error;
    }
  }

  async #bytes(/** @type {{path: string, size: number}} */ { path, size }) {
    if (size > MAX_BYTES) return null;
    if (!size) return new Uint8Array();
    try {
      return await this.#remote.read(path, MAX_BYTES);
    } catch (error) {
      if (codeOf(error) === 'no_file' || codeOf(error) === 'file_too_large') return null;
      throw error;
    }
  }

  /** The workspace's version of a file of the project differs from what is known. */
  #judge(/** @type {string} */ path, /** @type {import('./types.js').Content | null} */ text, /** @type {string} */ stamp) {
    const mine = this.#project?.files.get(path);
    if (mine === undefined) return;
    const known = this.#base.get(path);
    const theirs = text === null ? null : digest(text);
    if (theirs === digest(mine) || theirs === known?.digest) {
      if (this.conflicts.delete(path)) this.emit('settled', path);
      this.#base.set(path, { digest: theirs, stamp, writing: false });
    } else if (text !== null && known?.digest === digest(mine) && this.#project) {
      this.#base.set(path, { digest: theirs, stamp, writing: false });
      this.#project.take(path, text);
    } else if (this.conflicts.get(path)?.stamp !== stamp) {
      this.conflicts.set(path, { text, stamp });
      this.emit('conflict', path);
    }
  }

  /** Ends a conflict: the user's version is sent with the next run, or the workspace's is taken over. */
  resolve(/** @type {string} */ path, /** @type {boolean} */ mine) {
    const theirs = this.conflicts.get(path);
    if (!theirs || !this.#project) return;
    this.conflicts.delete(path);
    const entry = { digest: theirs.text === null ? null : digest(theirs.text), stamp: theirs.stamp, writing: false };
    this.#base.set(path, entry);
    if (!mine && theirs.text !== null) this.#project.take(path, theirs.text);
    this.emit('settled', path);
  }

  /** What programs made: the files and folders that are not the project's. */
  get made() {
    const own = this.#project?.files ?? new Map();
    const folders = new Set([...own.keys()].flatMap((path) => path.split('/').slice(0, -1).map((/** @type {string} */ _, /** @type {number} */ at, /** @type {string[]} */ parts) => parts.slice(0, at + 1).join('/'))));
    return [...this.entries.values()].filter(({ path }) => !own.has(path) && !folders.has(path) && !this.#outbox.owes(path));
  }

  /** The text of a file that a program made, for reading; null where it is none, or too large. */
  async open(/** @type {string} */ path) {
    const entry = this.entries.get(path);
    const text = entry ? await this.#text(entry) : null;
    if (entry && text !== null) this.#guests.set(path, stampOf(entry));
    return text;
  }

  /** For a later page. @returns {Record<string, [digest: string | null, stamp: string | null]>} */
  record() {
    return Object.fromEntries([...this.#base].filter(([, { writing }]) => !writing).map(([path, known]) => [path, [known.digest, known.stamp]]));
  }

  dispose() {
    this.over = true;
    this.#remote.close();
    this.emit('over');
    this.#timers.clearTimeout(this.#timer);
    this.project = null;
  }
}
