// The projects of this browser: opened, created, renamed, and kept in step with other tabs.
import { randomId } from '../core/bytes.js';
import { Emitter } from '../core/events.js';
import { Library } from '../core/library.js';
import { Project, recordsOf } from '../core/project.js';
import { openDB } from '../dist/idb.js';

// After a loss of the database: it may be back at once, or after the browser has deleted a site's data.
const AGAIN_MS = [100, 400, 1500, 5000];

/** @typedef {import('../core/types.js').Language} Language */
/** @typedef {Record<string, import('../core/types.js').Value>} Values by a record's name */
/** @typedef {Map<string, import('../core/types.js').Versioned>} Records */
/** @typedef {{id: string, language: string, name: string, records?: Records}} Listed */

/** @param {Values} records @returns {Records} */
const unkept = (records) => new Map(Object.entries(records).map(([name, value]) => [name, { value, version: null }]));

/** `name`, or with the next free number. */
function freeName(/** @type {string} */ name, /** @type {Set<string>} */ taken) {
  for (let number = 1; ; number += 1) {
    const one = number === 1 ? name : `${name} ${number}`;
    if (!taken.has(one)) return one;
  }
}

/** Events: `projects` (another tab created, renamed or removed one). @extends {Emitter<{projects: {removed?: string}}>} */
export class Shelf extends Emitter {
  #store;
  #page = randomId();
  /** @type {Library | null} */ #library = null;
  /** @type {Project | null} */ #project = null;
  /** @type {Map<string, Required<Listed>>} */ #unkept = new Map(); // if the browser has no storage: as long as the page lives
  ready;

  constructor(/** @type {import('./store.js').Store} */ store) {
    super();
    this.#store = store;
    this.ready = this.#open();
    addEventListener('pagehide', () => this.#leave());
    document.addEventListener('visibilitychange', () => document.hidden && this.#leave());
    // The browser asks the user by itself; a page cannot choose the words.
    addEventListener('beforeunload', (event) => this.#atRisk && event.preventDefault());
  }

  async #open() {
    const channel = new BroadcastChannel('coderunner:library');
    try {
      this.#library = await Library.open({ openDB, channel, lost: () => this.#reopen() });
    } catch {
      channel.close();
      return; // the projects report that nothing is stored
    }
    this.#library.on('changed', ({ project, names }) => {
      const shown = this.#project;
      if (shown && shown.id === project) shown.told(names);
    });
    this.#library.on('projects', (told) => this.emit('projects', told));
  }

  /** The browser has closed the database, for example because this site's data were deleted: what is shown is stored again. */
  async #reopen() {
    this.#library?.close();
    this.#library = null;
    this.ready = this.#openAgain();
    await this.ready;
    const library = /** @type {Library | null} */ (this.#library); // opened meanwhile
    const project = this.#project;
    if (!library || !project) return;
    const { id, name, language } = project;
    this.#store.set({});
    // Deleted as well, with the settings.
    this.#store.tab = { id, language: language.name };
    await library.create({ id, language: language.name, name }, {}).catch(() => {}); // writing the files fails in the same way, and reports it
    project.keepIn(library);
  }

  /** While the browser deletes data, it opens no database. */
  async #openAgain() {
    for (const ms of AGAIN_MS) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      await this.#open();
      if (this.#library) return;
    }
  }

  /** Whether the user would lose something with this page. */
  get #atRisk() {
    const project = this.#project;
    if (!this.#library) return Boolean(project?.touched) || [...this.#unkept.values()].some(({ records }) => records.get('option:touched')?.value);
    return project !== null && project.touched && project.trouble !== null && project.unsaved;
  }

  /** @returns {Promise<Listed[]>} of a language, the last used first */
  async list(/** @type {Language} */ language) {
    if (this.#library) return this.#library.projects(language.name);
    return [...this.#unkept.values()].filter((one) => one.language === language.name).reverse();
  }

  /** The last project of this tab or browser, otherwise a first one. @param {Language} language @param {string | null} id of a particular one */
  async open(language, id = null) {
    await this.ready;
    const all = await this.list(language);
    const current = this.#project?.language.name === language.name ? this.#project?.id : null;
    // In this order: asked for, shown, this tab's, the last used, a new one.
    const wanted = all.find((one) => one.id === (id ?? current)) ?? all.find((one) => one.id === this.#store.tab?.id) ?? all[0] ?? (await this.#first(language));
    return this.#show(language, wanted);
  }

  async #first(/** @type {Language} */ language) {
    // Versions before the library kept one project for each language.
    const old = this.#store.oldProject(language.name);
    const sample = language.samples[0];
    // A fixed id: two tabs that begin at once make the same project.
    const made = { id: `first:${language.name}`, language: language.name, name: sample?.title ?? language.title };
    const kept = old?.files?.length ? old : null;
    const records = recordsOf(language, kept ? { ...kept, name: kept.sample ?? '' } : sample);
    if (kept && !kept.sample) records['option:sample'] = null;
    for (const option of /** @type {const} */ (['env', 'stdin', 'mode', 'touched'])) if (kept && option in kept) records[`option:${option}`] = kept[option] ?? null;
    if (!this.#library) return { ...made, records: unkept(records) };
    await this.#library.create(made, records);
    // Only after it was stored under its new name.
    this.#store.dropOldProject(language.name);
    return made;
  }

  /**
   * A new project: of a sample, of the files and options of another one, or empty.
   * @param {Language} language @param {{name: string, sample?: import('../core/types.js').Sample | null, from?: Values | null}} what
   */
  async make(language, { name, sample = null, from = null }) {
    await this.ready;
    const records = recordsOf(language, sample);
    if (from) Object.assign(records, from);
    // Names are free to the user, but two equal ones cannot be told apart in the menu.
    const taken = new Set((await this.list(language)).map((one) => one.name));
    const made = { id: randomId(), language: language.name, name: freeName(name, taken) };
    if (!this.#library) return this.#show(language, { ...made, records: unkept(records) });
    await this.#library.create(made, records);
    return this.#show(language, made);
  }

  async rename(/** @type {string} */ id, /** @type {string} */ name) {
    const shown = this.#project;
    // The one that is shown has its name as well.
    if (shown && shown.id === id) shown.name = name;
    const listed = this.#unkept.get(id);
    if (listed) listed.name = name;
    await this.#library?.touch(id, { name });
  }

  async remove(/** @type {string} */ id) {
    this.#store.dropView(id);
    this.#unkept.delete(id);
    if (this.#project?.id === id) this.#project = null;
    await this.#library?.remove(id);
  }

  /**
   * Another tab may have renamed or removed the project that is shown.
   * @param {{removed?: string}} told its id: a first project that is made later may have the same one
   * @returns {Promise<boolean>} false if it was removed
   */
  async renewed({ removed }) {
    const shown = this.#project;
    if (!shown) return false;
    const there = shown.id === removed ? null : await this.#library?.project(shown.id);
    if (there) shown.name = there.name;
    // Removed: nothing of it is written any more, or it would come back without its other files.
    if (!there && this.#library && this.#project === shown) {
      shown.forget();
      this.#project = null;
    }
    return this.#project !== null;
  }

  /** @param {Language} language @param {Omit<Listed, 'language'>} wanted with the records of one that is not stored */
  async #show(language, { id, name, records }) {
    if (this.#project?.id === id) return this.#project;
    // Everything of the one before is written first.
    await this.#project?.close();
    const library = this.#library;
    if (!library) {
      // Without storage its files are only in this page.
      const left = this.#project;
      const listed = left && this.#unkept.get(left.id);
      if (listed) listed.records = left.records();
      if (records) this.#unkept.set(id, { id, language: language.name, name, records });
      records = this.#unkept.get(id)?.records;
    }
    const project = new Project({ library, language, id, name, records: records ?? (await library?.load(id)) ?? new Map(), view: this.#store.view(id) });
    project.histories = library ? await library.histories(id).catch(() => new Map()) : new Map();
    // Changes that an earlier page could not write any more.
    for (const changes of this.#store.takeUnsaved(id)) project.restore(changes);
    project.on('files', () => this.#store.keepView(id, { open: project.open, active: project.active }));
    this.#project = project;
    this.#store.tab = { id, language: language.name };
    // Not awaited: the order of the menu may wait.
    library?.touch(id).catch(() => {});
    return project;
  }

  /** @param {Project} project @param {string} path @param {string} digest @param {string} json */
  keepHistory(project, path, digest, json) {
    return this.#library?.keepHistory(project.id, path, digest, json).catch(() => {}); // a lost undo history is no lost work
  }

  /** The page may end after this: what is not written is also put into the synchronous storage. */
  #leave() {
    const project = this.#project;
    if (!project?.unsaved) return;
    this.#store.keepUnsaved(project.id, this.#page, project.pending());
    // Written after all: the copy must not be restored later.
    project.save().then((kept) => kept && this.#store.keepUnsaved(project.id, this.#page, []));
  }
}
