// The projects of this browser: opened, made, named, and kept together with what other tabs do.
import { randomId } from '../core/bytes.js';
import { Emitter } from '../core/events.js';
import { Library } from '../core/library.js';
import { Project, recordsOf } from '../core/project.js';
import { openDB } from '../dist/idb.js';

const AGAIN_MS = [100, 400, 1500, 5000];

/** @typedef {import('../core/types.js').Language} Language */
/** @typedef {Record<string, import('../core/types.js').Value>} Values by a record's name */
/** @typedef {Map<string, import('../core/types.js').Versioned>} Records */
/** @typedef {{id: string, language: string, name: string, records?: Records}} Listed */

/** @param {Values} records @returns {Records} */
const unkept = (records) => new Map(Object.entries(records).map(([name, value]) => [name, { value, version: null }]));

/** `name`, or with the next number that is free. */
function freeName(/** @type {string} */ name, /** @type {Set<string>} */ taken) {
  for (let number = 1; ; number += 1) {
    const one = number === 1 ? name : `${name} ${number}`;
    if (!taken.has(one)) return one;
  }
}

/** Events: `projects` (another tab made, named or removed one). @extends {Emitter<{projects: {removed?: string}}>} */
export class Shelf extends Emitter {
  #store;
  #page = randomId();
  /** @type {Library | null} */ #library = null;
  /** @type {Project | null} */ #project = null;
  /** @type {Map<string, Required<Listed>>} */ #unkept = new Map(); // where the browser keeps nothing: for the life of the page
  ready;

  constructor(/** @type {import('./store.js').Store} */ store) {
    super();
    this.#store = store;
    this.ready = this.#open();
    addEventListener('pagehide', () => this.#leave());
    document.addEventListener('visibilitychange', () => document.hidden && this.#leave());
    addEventListener('beforeunload', (event) => this.#atRisk && event.preventDefault());
  }

  async #open() {
    const channel = new BroadcastChannel('coderunner:library');
    try {
      this.#library = await Library.open({ openDB, channel, lost: () => this.#reopen() });
    } catch {
      channel.close();
      return; // the projects say that nothing is kept
    }
    this.#library.on('changed', ({ project, names }) => {
      const shown = this.#project;
      if (shown && shown.id === project) shown.told(names);
    });
    this.#library.on('projects', (told) => this.emit('projects', told));
  }

  /** The browser closed the library, as when the data of this site are deleted: what is shown is kept anew. */
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
    this.#store.tab = { id, language: language.name };
    await library.create({ id, language: language.name, name }, {}).catch(() => {}); // to write the files fails in the same way, and tells it
    project.keepIn(library);
  }

  /** While the browser deletes, it opens nothing. */
  async #openAgain() {
    for (const ms of AGAIN_MS) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      await this.#open();
      if (this.#library) return;
    }
  }

  /** What the user would lose with this page. */
  get #atRisk() {
    const project = this.#project;
    if (!this.#library) return Boolean(project?.touched) || [...this.#unkept.values()].some(({ records }) => records.get('option:touched')?.value);
    return project !== null && project.touched && project.trouble !== null && project.unsaved;
  }

  /** @returns {Promise<Listed[]>} of a language, the latest used first */
  async list(/** @type {Language} */ language) {
    if (this.#library) return this.#library.projects(language.name);
    return [...this.#unkept.values()].filter((one) => one.language === language.name).reverse();
  }

  /** The one that this tab or browser had last, else a first one. @param {Language} language @param {string | null} id of a certain one */
  async open(language, id = null) {
    await this.ready;
    const all = await this.list(language);
    const current = this.#project?.language.name === language.name ? this.#project?.id : null;
    const wanted = all.find((one) => one.id === (id ?? current)) ?? all.find((one) => one.id === this.#store.tab?.id) ?? all[0] ?? (await this.#first(language));
    return this.#show(language, wanted);
  }

  async #first(/** @type {Language} */ language) {
    const old = this.#store.oldProject(language.name);
    const sample = language.samples[0];
    const made = { id: `first:${language.name}`, language: language.name, name: sample?.title ?? language.title };
    const kept = old?.files?.length ? old : null;
    const records = recordsOf(language, kept ? { ...kept, name: kept.sample ?? '' } : sample);
    if (kept && !kept.sample) records['option:sample'] = null;
    for (const option of /** @type {const} */ (['env', 'stdin', 'mode', 'touched'])) if (kept && option in kept) records[`option:${option}`] = kept[option] ?? null;
    if (!this.#library) return { ...made, records: unkept(records) };
    await this.#library.create(made, records);
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
    const taken = new Set((await this.list(language)).map((one) => one.name));
    const made = { id: randomId(), language: language.name, name: freeName(name, taken) };
    if (!this.#library) return this.#show(language, { ...made, records: unkept(records) });
    await this.#library.create(made, records);
    return this.#show(language, made);
  }

  async rename(/** @type {string} */ id, /** @type {string} */ name) {
    const shown = this.#project;
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
   * Another tab may have named or removed the one that is shown.
   * @param {{removed?: string}} told the first one that is made after it has the same id
   * @returns {Promise<boolean>} false: it is gone
   */
  async renewed({ removed }) {
    const shown = this.#project;
    if (!shown) return false;
    const there = shown.id === removed ? null : await this.#library?.project(shown.id);
    if (there) shown.name = there.name;
    if (!there && this.#library && this.#project === shown) {
      shown.forget();
      this.#project = null;
    }
    return this.#project !== null;
  }

  /** @param {Language} language @param {Omit<Listed, 'language'>} wanted with the records of one that is not kept */
  async #show(language, { id, name, records }) {
    if (this.#project?.id === id) return this.#project;
    await this.#project?.close();
    const library = this.#library;
    if (!library) {
      const left = this.#project;
      const listed = left && this.#unkept.get(left.id);
      if (listed) listed.records = left.records();
      if (records) this.#unkept.set(id, { id, language: language.name, name, records });
      records = this.#unkept.get(id)?.records;
    }
    const project = new Project({ library, language, id, name, records: records ?? (await library?.load(id)) ?? new Map(), view: this.#store.view(id) });
    project.histories = library ? await library.histories(id).catch(() => new Map()) : new Map();
    for (const changes of this.#store.takeUnsaved(id)) project.restore(changes);
    project.on('files', () => this.#store.keepView(id, { open: project.open, active: project.active }));
    this.#project = project;
    this.#store.tab = { id, language: language.name };
    library?.touch(id).catch(() => {});
    return project;
  }

  /** @param {Project} project @param {string} path @param {string} digest @param {string} json */
  keepHistory(project, path, digest, json) {
    return this.#library?.keepHistory(project.id, path, digest, json).catch(() => {}); // an undo that is lost is no work that is lost
  }

  /** The page may be gone after this: what is not written is left in the synchronous storage, too. */
  #leave() {
    const project = this.#project;
    if (!project?.unsaved) return;
    this.#store.keepUnsaved(project.id, this.#page, project.pending());
    project.save().then((kept) => kept && this.#store.keepUnsaved(project.id, this.#page, []));
  }
}
