// Compares a project with the workspace of its session: what either lacks, and which side changed a file. Each run
// sends the files that the workspace does not have in their present form. A file that a program changed is taken over
// if the user has not changed it since; if both have, it is a conflict, and neither version is replaced before the user
// has chosen.
import { textOf, utf8 } from './bytes.js';
import { digest } from './digest.js';
import { Emitter } from './events.js';
import { codeOf, retryable } from './faults.js';
import { Outbox } from './outbox.js';
import { parcels } from './parcels.js';

export const MAX_TEXT = 1024 * 1024; // bytes of a file that is opened as text
// After a failure that may be temporary.
const AGAIN_MS = 1000;
const MANY = 1000; // entries; from this number on the next listing waits, as each is expensive
const REST_MS = 2000;
const MANY_AT_ONCE = 16; // files; from this number on their contents are fetched together
const MAX_TOGETHER = 16 * 1024 * 1024; // bytes of a workspace that is fetched as a whole
/** Refusals of an archive after which its files may still be accepted one by one: a server's limits may be lower than usual. */
const AS_ARCHIVE = new Set(['too_many_files', 'file_too_large', 'bad_archive', 'bad_path']);

const MAX_BYTES = 16 * 1024 * 1024; // of a file of the project that is no text
const MAX_SENT = 256 * 1024; // characters of a file that is sent in the message of a run
/** Bytes of files that are sent with the message that opens a session: of the 64 KiB that a server accepts before, as JSON. */
export const FIRST_ROOM = 48 * 1024;
/** Bytes of files that are sent with a run: of the 2 MiB that a server accepts, as JSON; arguments and input need some, too. */
export const RUN_ROOM = 1024 * 1024;

/** @typedef {{digest: string | null, stamp: string | null, writing: boolean}} Known of a file in the workspace */

/** Whether a file can be sent in a message at all: a text with half a character (a lone surrogate) cannot. @param {import('./types.js').File} file @returns {file is import('./types.js').TextFile} */
export const isText = (file) => typeof file.content === 'string' && file.content.length <= MAX_SENT && file.content.isWellFormed();

/**
 * Whether these files fit into one message with so much room for them; otherwise they are uploaded.
 * @param {import('./types.js').File[]} files @param {number} room in bytes @returns {files is import('./types.js').TextFile[]}
 */
export function fits(files, room) {
  let characters = 0; // a quick check: most projects have a few thousand, and a character has at least one byte
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
 * Events: `change` (the listing), `over`, `conflict` path, `settled` path, `failed` an error to be shown.
 * @extends {Emitter<{change: undefined, over: undefined, conflict: string, settled: string, failed: unknown}>}
 */
export class Mirror extends Emitter {
  #remote;
  #timers;
  #pack;
  #unpack;
  /** @type {import('./project.js').Project | null} */ #project = null;
  /** @type {(() => unknown)[]} */ #stop = [];
  /** @type {Map<string, Known>} */ #base = new Map(); // path -> {digest, stamp, writing}: what was sent to the workspace, as far as is known
  /** @type {Map<string, string | null>} */ #guests = new Map(); // path -> stamp of the version that is open
  #outbox;
  /** @type {Promise<void> | null} */ #refreshing = null;
  #stale = false;
  #resting = false;
  #epoch = 0; // incremented with each write of ours: earlier readings are outdated
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
    // An earlier page's record: its files need not be sent again.
    for (const [path, [known, stamp]] of Object.entries(sent)) this.#base.set(path, { digest: known, stamp, writing: false });
    /** @type {Map<string, import('./types.js').Entry>} */ this.entries = new Map(); // path -> {path, size, mtime_ms, folder}
    this.complete = true;
    /** @type {Map<string, {text: import('./types.js').Content | null, stamp: string}>} */ this.conflicts = new Map(); // path -> {text, stamp} of the workspace; text null: it is not a text
    this.over = false;
  }

  get remote() {
    return this.#remote;
  }

  get project() {
    return this.#project;
  }

  /** The project that owns the session; null while another one is shown. */
  set project(project) {
    for (const stop of this.#stop) stop();
    this.#project = project;
    this.#stop = project ? [
      project.on('renamed', ({ from, to }) => this.#renamed(from, to)),
      // A program's file that is edited becomes the project's: its version is known to be in the workspace.
      project.on('adopted', ({ path, text }) => this.#base.set(path, { digest: digest(text), stamp: this.#guests.get(path) ?? null, writing: false })),
      project.on('files', () => this.#prune()),
    ] : [];
    if (project) this.#prune();
  }

  // --- to the workspace -----------------------------------------------------------------------------------

  /** The project's files that the workspace lacks, for a `run`. */
  toSend() {
    return (this.#project?.list() ?? []).filter(({ path, content }) => !this.conflicts.has(path) && this.#base.get(path)?.digest !== digest(content));
  }

  /** These files are being sent. @returns {{done(): void, failed(): void}} to be called when the result is known */
  sending(/** @type {import('./types.js').File[]} */ files) {
    this.#epoch += 1;
    const entries = files.map(({ path, content }) => {
      /** @type {Known} */ const entry = { digest: digest(content), stamp: null, writing: true };
      this.#base.set(path, entry);
      // Sent again, so a deletion that is pending must not follow.
      this.#outbox.forgive(path);
      return /** @type {const} */ ([path, entry]);
    });
    return {
      done: () => {
        for (const [, entry] of entries) entry.writing = false;
      },
      failed: () => {
        // Only if nothing newer was sent meanwhile.
        for (const [path, entry] of entries) if (this.#base.get(path) === entry && entry.writing) this.#base.delete(path);
      },
    };
  }

  /** Writes the files that the workspace lacks without a run, for users who work in a shell. */
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
        // Any other error would come again for each file.
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
        if (this.#base.get(to) === known) this.#base.delete(to); // so the next run sends it
        this.#owe(from);
        // Not there: then there is nothing to rename, and the file is sent under its new name.
        if (codeOf(error) !== 'no_file') throw error;
      }
    });
  }

  /** Moves a folder with everything in it, also what programs made. False if that cannot be done in one step. */
  async moveFolder(/** @type {string} */ from, /** @type {string} */ to) {
    if (!await this.settle()) return false;
    const below = (/** @type {string} */ path) => path.startsWith(`${from}/`);
    // Files that are being written would arrive under the old name.
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

  /** Files that the project does not have any more are removed from the workspace as well. */
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

  /** Resolves when the workspace agrees with the project. @returns {Promise<boolean>} false if it could not be made so */
  async settle() {
    await this.#outbox.settle();
    // A listing that was asked for may show further differences.
    await (this.#stale && !this.over ? this.#begin() : this.#refreshing);
    return this.#outbox.settle();
  }

  // --- from the workspace ---------------------------------------------------------------------------------

  /** Lists the workspace; if asked again meanwhile, lists it once more. */
  refresh() {
    this.#stale = true;
    return this.#resting ? this.#refreshing : this.#begin();
  }

  #begin() {
    this.#refreshing ??= this.#look().finally(() => {
      this.#refreshing = null;
      if (this.#stale && !this.over && !this.#resting) this.refresh(); // requested between the last listing and now
    });
    return this.#refreshing;
  }

  async #look() {
    while (this.#stale && !this.over) {
      this.#stale = false;
      try {
        // Own changes first: a listing in the middle of them would show neither state.
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

  // While a program creates thousands of files, each listing is expensive for the server.
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
    // A file that is gone must be sent again with the next run.
    for (const [path, known] of this.#base) if (!known.writing && !this.entries.has(path)) this.#base.delete(path);
    const changed = [...project.files.keys()].flatMap((path) => this.#changedSince(path) ?? []);
    const together = await this.#together(changed);
    // Something was written meanwhile, so what was read may be outdated.
    if (epoch !== this.#epoch || this.#project !== project) return this.#restart();
    for (const entry of changed) {
      const content = await this.#content(entry, together.get(entry.path));
      if (epoch !== this.#epoch || this.#project !== project) return this.#restart();
      this.#judge(entry.path, content, stampOf(entry));
    }
    // Open files of programs are read again if they have changed.
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

  /** The workspace's entry of a file, if it may be another version than the known one. */
  #changedSince(/** @type {string} */ path) {
    const entry = this.entries.get(path);
    const known = this.#base.get(path);
    return entry && !entry.folder && !known?.writing && known?.stamp !== stampOf(entry) ? entry : null;
  }

  /** Fetches the contents of many files as one archive, unless the workspace has much else. @param {import('./types.js').Entry[]} wanted */
  async #together(wanted) {
    /** @type {Map<string, Uint8Array<ArrayBuffer>>} */ const found = new Map();
    const sum = (/** @type {Iterable<{size: number}>} */ entries) => [...entries].reduce((total, { size }) => total + size, 0);
    const all = sum(this.entries.values());
    if (wanted.length < MANY_AT_ONCE || !this.complete || all > MAX_TOGETHER || all > 4 * sum(wanted) + FIRST_ROOM) return found;
    try {
      const archive = new Uint8Array(await (await this.#remote.archive('zip')).arrayBuffer());
      for (const { path, bytes } of await this.#unpack(archive)) found.set(path, bytes);
    } catch {
      // It broke off (a program wrote a file meanwhile), or the session has ended: then each file is read by itself, and reports its error.
    }
    return found;
  }

  /** @param {import('./types.js').Entry} entry @param {Uint8Array<ArrayBuffer> | undefined} bytes if they were fetched already */
  #content(entry, bytes) {
    const text = typeof this.#project?.files.get(entry.path) === 'string';
    if (!bytes) return text ? this.#text(entry) : this.#bytes(entry);
    if (bytes.length > (text ? MAX_TEXT : MAX_BYTES)) return null;
    return text ? textOf(bytes) : bytes;
  }

  /** A file as text; null if it is none, or too large. */
  async #text(/** @type {{path: string, size: number}} */ { path, size }) {
    if (size > MAX_TEXT) return null;
    if (!size) return ''; // an empty file has no ranges
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

  /** The workspace's version of a file of the project differs from the known one. */
  #judge(/** @type {string} */ path, /** @type {import('./types.js').Content | null} */ text, /** @type {string} */ stamp) {
    const mine = this.#project?.files.get(path);
    if (mine === undefined) return;
    const known = this.#base.get(path);
    const theirs = text === null ? null : digest(text);
    // Equal to the user's, or unchanged: no conflict.
    if (theirs === digest(mine) || theirs === known?.digest) {
      if (this.conflicts.delete(path)) this.emit('settled', path);
      this.#base.set(path, { digest: theirs, stamp, writing: false });
    // Only the workspace's side has changed: it is taken over.
    } else if (text !== null && known?.digest === digest(mine) && this.#project) {
      this.#base.set(path, { digest: theirs, stamp, writing: false });
      this.#project.take(path, text);
    // A conflict is reported once for each version of the workspace.
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

  /** Files and folders that programs made, which are those that the project does not have. */
  get made() {
    const own = this.#project?.files ?? new Map();
    // Folders of the project's files are the project's, too.
    const folders = new Set([...own.keys()].flatMap((path) => path.split('/').slice(0, -1).map((/** @type {string} */ _, /** @type {number} */ at, /** @type {string[]} */ parts) => parts.slice(0, at + 1).join('/'))));
    return [...this.entries.values()].filter(({ path }) => !own.has(path) && !folders.has(path) && !this.#outbox.owes(path));
  }

  /** The text of a file that a program made, for reading; null if it is none, or too large. */
  async open(/** @type {string} */ path) {
    const entry = this.entries.get(path);
    const text = entry ? await this.#text(entry) : null;
    if (entry && text !== null) this.#guests.set(path, stampOf(entry));
    return text;
  }

  /** The state of each file, for a later page. @returns {Record<string, [digest: string | null, stamp: string | null]>} */
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
