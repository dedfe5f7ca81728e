// The files of one language's project, what is open, and how it is run. Saved a moment after each change.
import { Emitter } from '../core/events.js';

const SAVE_AFTER_MS = 400;

/**
 * Files that a program made can be open as well: `guests`, which are the workspace's until they are edited.
 *
 * Events: `files` (names, what is open or active), `text` (path), `taken` (path: its text came from the workspace),
 * `renamed` {from, to}, `adopted` {path, text} (a guest is edited; `text` is what it was), `unsaved`.
 */
export class Project extends Emitter {
  #store;
  #timer = null;
  guests = new Map();

  constructor(store, language) {
    super();
    this.#store = store;
    this.language = language;
    Object.assign(this, { mode: 'tty', args: [], env: '', stdin: null });
    const saved = store.project(language.name);
    if (saved?.files?.length) Object.assign(this, { ...saved, files: new Map(saved.files.map(({ path, content }) => [path, content])) });
    else this.load(language.samples[0]);
  }

  /** Replaces everything by a sample. */
  load(sample) {
    const files = sample?.files ?? [{ path: this.language.entry, content: '' }];
    this.files = new Map(files.map(({ path, content }) => [path, content]));
    this.entry = sample?.entry ?? this.language.entry;
    this.args = sample?.args ?? [];
    this.env = '';
    this.stdin = null;
    this.open = [this.entry];
    this.active = this.entry;
    this.guests.clear();
    this.sample = sample?.name ?? null;
    this.touched = false;
    this.#changed();
  }

  get paths() {
    return [...this.files.keys()].sort((a, b) => a.localeCompare(b));
  }

  list() {
    return this.paths.map((path) => ({ path, content: this.files.get(path) }));
  }

  text(path) {
    return this.files.get(path) ?? this.guests.get(path) ?? '';
  }

  edit(path, content) {
    const guest = this.guests.get(path);
    this.guests.delete(path);
    this.files.set(path, content);
    this.touched = true;
    this.#save();
    if (guest !== undefined) {
      this.emit('adopted', { path, text: guest });
      this.#changed();
    }
    this.emit('text', path);
  }

  /** Opens a file that a program made. */
  visit(path, text) {
    if (!this.files.has(path)) this.guests.set(path, text);
    this.show(path);
  }

  /** A program wrote a file that is the project's, or open. */
  take(path, text) {
    (this.files.has(path) ? this.files : this.guests).set(path, text);
    this.#save();
    this.emit('taken', path);
  }

  /** A guest is gone, or can be shown no more. */
  shut(path) {
    if (this.guests.has(path)) this.hide(path);
  }

  create(path, content = '') {
    this.put([{ path, content }]);
    this.show(path);
  }

  /** Files from elsewhere, in the place of those of their names. */
  put(files) {
    for (const { path, content } of files) {
      this.guests.delete(path);
      this.files.set(path, content);
    }
    this.touched = true;
    this.#changed();
    for (const { path } of files) this.emit('taken', path);
  }

  rename(from, to) {
    const content = this.files.get(from);
    this.files.delete(from);
    this.files.set(to, content);
    this.open = this.open.map((path) => (path === from ? to : path));
    if (this.active === from) this.active = to;
    if (this.entry === from) this.entry = to;
    if (this.stdin === from) this.stdin = to;
    this.touched = true;
    this.emit('renamed', { from, to });
    this.#changed();
  }

  remove(path) {
    this.files.delete(path);
    this.touched = true;
    if (this.entry === path) this.entry = this.files.has(this.language.entry) ? this.language.entry : (this.paths[0] ?? this.language.entry);
    if (this.stdin === path) this.stdin = null;
    this.hide(path);
  }

  show(path) {
    if (!this.open.includes(path)) this.open.push(path);
    this.active = path;
    this.#changed();
  }

  hide(path) {
    const at = this.open.indexOf(path);
    this.guests.delete(path);
    this.open = this.open.filter((other) => other !== path);
    if (this.active === path) this.active = this.open[Math.min(at, this.open.length - 1)] ?? null;
    this.#changed();
  }

  set(change) {
    Object.assign(this, change);
    this.#changed();
  }

  #changed() {
    this.#save();
    this.emit('files');
  }

  #save() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.save(), SAVE_AFTER_MS);
  }

  save() {
    clearTimeout(this.#timer);
    const { entry, args, env, stdin, mode, sample, touched } = this;
    const open = this.open.filter((path) => this.files.has(path));
    const active = this.files.has(this.active) ? this.active : (open.at(-1) ?? null);
    const kept = this.#store.saveProject(this.language.name, { files: this.list(), entry, args, env, stdin, mode, open, active, sample, touched });
    if (!kept) this.emit('unsaved');
  }
}
