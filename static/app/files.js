// The files: what users do with their own and with those that programs made.
import { utf8 } from '../core/bytes.js';
import { size } from '../core/ending.js';
import { codeOf, messageOf, present } from '../core/faults.js';
import { MAX_TEXT } from '../core/mirror.js';
import { pathProblem } from '../core/path.js';
import { texts } from '../core/texts.js';
import { ask } from './ask.js';
import { banner, clearBanner } from './banners.js';
import { $ } from './dom.js';
import { fillMenu, menuOf, openMenu } from './menu.js';
import { save, saveFiles, saveProject } from './save.js';
import { drawTabs } from './tabs.js';
import { Tree } from './tree.js';
import { Upload } from './upload.js';
import { MAX_HEAD, view } from './viewer.js';

// The types that a browser displays as a picture.
/** @typedef {import('../core/project.js').Project} Project */
/** @typedef {import('../core/mirror.js').Mirror} Mirror */
/** @typedef {import('./tree.js').Row} Row */

/** @type {Record<string, string | undefined>} */
const PICTURES = { png: 'image/png', jpg: 'image/jpeg', jpeg: 'image/jpeg', gif: 'image/gif', webp: 'image/webp', svg: 'image/svg+xml', bmp: 'image/bmp' };
const MAX_PICTURE = 16 * 1024 * 1024;
// One object, so that drawing without a mirror makes no new one each time.
const NO_CLASHES = new Map();

const mimeOf = (/** @type {string} */ path) => PICTURES[(path.split('.').at(-1) ?? '').toLowerCase()];

const within = (/** @type {string} */ path, /** @type {string} */ folder) => path === folder || path.startsWith(`${folder}/`);
const parent = (/** @type {string} */ path) => path.slice(0, path.lastIndexOf('/') + 1);

export class Files {
  /** @type {Project | null} */ #shown = null;
  /** @type {(() => unknown) | null} */ #stop = null;
  #on;
  #desk;
  #tree;
  #upload;
  #limits;

  /**
   * @param {import('./desk.js').Desk} desk @param {() => import('../core/types.js').ServerLimits} limits
   * @param {{renamed(from: string, to: string): void, removed(path: string): void, chosen(path: string): void}} on
   */
  constructor(desk, limits, on) {
    this.#desk = desk;
    this.#on = on;
    this.#limits = limits;
    this.#tree = new Tree({
      choose: (row) => this.#choose(row), rename: (row) => this.#rename(row),
      remove: (row) => this.#remove(row), menu: (row, anchor) => this.#menu(row, anchor),
    });
    this.#upload = new Upload({ desk, limits, project: () => this.#shown });
    $('new-file').addEventListener('click', () => this.create(parent(this.#shown?.active ?? '')));
    $('no-file-new').addEventListener('click', () => this.create());
    menuOf($('transfer'), $('transfer-menu'), () => fillMenu($('transfer-menu'), this.#transfers()));
    desk.on('mirror', (mirror) => this.#follow(mirror));
  }

  use(/** @type {Project} */ project) {
    // Ends the listener of the project before.
    this.#stop?.();
    this.#shown = project;
    this.#stop = project.on('files', () => this.draw());
    this.draw();
  }

  /** Nothing can be done before there is one. @returns {Project} */
  get #project() {
    return present(this.#shown);
  }

  /** The mirror of the project that is shown, while its session is live; otherwise null. */
  get #mirror() {
    const { mirror, session } = this.#desk;
    return mirror && !mirror.over && session?.phase === 'open' && mirror.project === this.#shown ? mirror : null;
  }

  draw() {
    if (!this.#shown) return;
    const mirror = this.#mirror;
    this.#tree.draw({
      own: this.#project.paths, made: mirror?.made ?? [], complete: mirror?.complete ?? true,
      active: this.#project.active, entry: this.#project.entry, conflicts: mirror?.conflicts ?? NO_CLASHES,
    });
    drawTabs(this.#project, (path) => this.#open(path));
  }

  // --- reports of the workspace ---------------------------------------------------------------------------

  #follow(/** @type {Mirror} */ mirror) {
    const draw = () => this.draw();
    for (const event of /** @type {const} */ (['change', 'over'])) mirror.on(event, draw);
    mirror.on('conflict', (path) => {
      this.#tell(mirror, path);
      draw();
    });
    mirror.on('settled', (path) => {
      clearBanner(`conflict-${path}`);
      draw();
    });
    mirror.on('failed', (error) => banner('workspace', { title: texts.files.notSent, detail: messageOf(error), dismiss: true }));
  }

  #tell(/** @type {Mirror} */ mirror, /** @type {string} */ path) {
    // null: the workspace's file is no text, so only one of the two can be kept.
    const text = mirror.conflicts.get(path)?.text ?? null;
    const mine = { label: texts.files.mine, act: () => mirror.resolve(path, true) };
    if (text === null) {
      banner(`conflict-${path}`, { title: texts.files.noText(path), detail: texts.files.noTextDetail, action: mine });
    } else {
      banner(`conflict-${path}`, {
        title: texts.files.changedTwice(path), detail: texts.files.changedTwiceDetail,
        action: mine, other: { label: texts.files.theirs, act: () => mirror.resolve(path, false) },
      });
    }
  }

  // --- what the user does ---------------------------------------------------------------------------------

  async #choose(/** @type {Row} */ row) {
    if (row.made && !this.#project.guests.has(row.path)) await this.#visit(row);
    else this.#open(row.path);
  }

  #open(/** @type {string} */ path) {
    // The editor would damage bytes that are no text.
    if (this.#project.binary(path)) {
      this.#look(path);
      return;
    }
    this.#project.show(path);
    this.#on.chosen(path);
  }

  /** A file of the project that is no text: a picture, or its facts and first bytes. */
  #look(/** @type {string} */ path) {
    const held = this.#project.files.get(path) ?? '';
    const bytes = typeof held === 'string' ? utf8(held) : held;
    const mime = mimeOf(path);
    const blob = new Blob([bytes], { type: mime ?? '' });
    const url = mime ? URL.createObjectURL(blob) : null;
    // The address is released when the viewer closes.
    view([{ path, mime: mime ?? '', size: bytes.length, url, head: () => Promise.resolve(bytes.subarray(0, MAX_HEAD)), save: () => save(Promise.resolve(blob), path) }], 0, () => url && URL.revokeObjectURL(url));
  }

  /** Opens a file that a program made: a text in the editor, anything else in the viewer. */
  async #visit(/** @type {Row} */ { path, entry }) {
    const mirror = this.#mirror;
    if (!mirror) return;
    const mime = mimeOf(path);
    const bytes = entry?.size ?? 0;
    try {
      // SVG is a text, and edited as one.
      const text = mime && mime !== PICTURES.svg ? null : await mirror.open(path);
      if (text !== null && !text.includes('\u0000')) {
        this.#project.visit(path, text);
        this.#on.chosen(path);
        return;
      }
      /** @type {import('./viewer.js').Item} */ const item = { path, mime: mime ?? '', size: bytes, url: null, head: () => mirror.remote.head(path, MAX_HEAD), save: () => save(mirror.remote.blob(path), path) };
      // Larger ones are not loaded into the page; they can be downloaded.
      if (mime && bytes <= MAX_PICTURE) item.url = URL.createObjectURL(new Blob([await mirror.remote.read(path, MAX_PICTURE)], { type: mime }));
      else item.mime = '';
      view([item], 0, () => item.url !== null && URL.revokeObjectURL(item.url));
    } catch (error) {
      this.#failed(path, error);
    }
  }

  #failed(/** @type {string} */ path, /** @type {unknown} */ error) {
    banner('workspace', { title: texts.files.failed(path), detail: messageOf(error), dismiss: true });
  }

  /** All names in use, except those of `path` and below it. */
  #others(/** @type {string | null} */ path = null) {
    const all = [...this.#project.paths, ...(this.#mirror?.made ?? []).filter(({ folder }) => !folder).map((entry) => entry.path)];
    return path === null ? all : all.filter((other) => !within(other, path));
  }

  async create(folder = '') {
    const path = await ask({
      title: texts.files.fresh, label: texts.files.newLabel, value: folder, ok: texts.files.create,
      check: (value) => pathProblem(value, this.#others()),
    });
    if (path === null) return;
    this.#project.create(path);
    this.#on.chosen(path);
  }

  async #makeFolder() {
    const path = await ask({ title: texts.files.newFolder, label: texts.files.name, value: '', ok: texts.files.create, check: (value) => pathProblem(value, this.#others()) });
    if (path === null) return;
    await this.#desk.opened().then(async (mirror) => {
      await mirror.remote.makeFolder(path);
      await mirror.refresh();
    }).catch((error) => this.#failed(path, error));
  }

  async #rename(/** @type {Row} */ row) {
    const { path } = row;
    const to = await ask({ title: texts.files.rename, label: texts.files.newName, value: path, ok: texts.files.rename, check: (value) => pathProblem(value, this.#others(path)) });
    if (to === null || to === path) return;
    const mirror = this.#mirror;
    try {
      // A whole folder in one call, if the workspace can do that; otherwise file by file.
      const moved = row.folder && mirror ? await mirror.moveFolder(path, to) : false;
      for (const one of this.#project.paths.filter((other) => (row.folder ? within(other, path) : !row.made && other === path))) {
        const name = to + one.slice(path.length);
        // The editor's state first, so that the undo history moves with the file.
        this.#on.renamed(one, name);
        this.#project.rename(one, name);
      }
      if (mirror && !moved) await this.#move(mirror, row, to);
    } catch (error) {
      this.#failed(path, error);
    }
    // Also after a failure: what was moved so far is shown.
    await mirror?.refresh();
  }

  /** Moves files that programs made, one by one. */
  async #move(/** @type {Mirror} */ mirror, /** @type {Row} */ { path, made, folder }, /** @type {string} */ to) {
    // The mirror's own changes first, or it would send a file back under the old name.
    await mirror.settle();
    if (!folder && !made) return;
    for (const entry of mirror.made.filter((one) => within(one.path, path) && !one.folder)) {
      await mirror.remote.rename(entry.path, to + entry.path.slice(path.length));
      this.#project.shut(entry.path);
    }
  }

  async #remove(/** @type {Row} */ row) {
    const { path, folder } = row;
    const text = folder ? texts.files.removeFolderText(path) : texts.files.removeFileText(path);
    const sure = await ask({ title: folder ? texts.files.removeFolder : texts.files.removeFile, text, ok: texts.files.remove });
    if (sure === null) return;
    if (!row.made || folder) {
      for (const one of this.#project.paths.filter((other) => (folder ? within(other, path) : other === path))) {
        this.#on.removed(one);
        this.#project.remove(one);
      }
    }
    const mirror = this.#mirror;
    if (!mirror || (!row.made && !folder)) return;
    try {
      // Otherwise a pending upload would bring the file back.
      await mirror.settle();
      await mirror.remote.remove(path);
      this.#project.shut(path);
      await mirror.refresh();
    } catch (error) {
      // It was deleted meanwhile, as intended.
      if (codeOf(error) !== 'no_file') this.#failed(path, error);
    }
  }

  /** A program's file becomes one of the project. */
  async #keep(/** @type {Row} */ { path }) {
    const text = await this.#mirror?.open(path);
    if (text === null || text === undefined) return;
    // An edit, even with the same text, makes it the project's own.
    this.#project.visit(path, text);
    this.#project.edit(path, text);
  }

  #saveOne(/** @type {Row} */ { path, made }) {
    if (!made) save(Promise.resolve(new Blob([this.#project.files.get(path) ?? ''], { type: this.#project.binary(path) ? '' : 'text/plain' })), path);
    else if (this.#mirror) save(this.#mirror.remote.blob(path), path);
  }

  #menu(/** @type {Row} */ row, /** @type {HTMLElement} */ anchor) {
    const { path, made, folder } = row;
    const run = this.#project.entry === path;
    const entries = folder ? [
      { label: texts.files.menuNew, act: () => this.create(`${path}/`) },
      { label: texts.files.menuUpload, act: () => this.#upload.choose({ folder: `${path}/` }) },
    ] : [
      { label: texts.files.menuDownload, act: () => this.#saveOne(row) },
      ...(made ? [{ label: texts.files.menuKeep, act: () => this.#keep(row), disabled: (row.entry?.size ?? 0) > MAX_TEXT }]
        : [{ label: texts.files.menuRun, act: () => this.#project.set({ entry: path }), disabled: run || this.#project.binary(path), note: run ? texts.files.isRun : '' }]),
    ];
    openMenu($('file-menu'), anchor, [...entries, { label: texts.files.menuRename, act: () => this.#rename(row) }, { label: texts.files.menuRemove, act: () => this.#remove(row), bad: true }]);
  }

  /** The largest size of a file, shown before one is chosen. */
  get #most() {
    const { file_bytes: most } = this.#limits();
    return most ? texts.files.most(size(most)) : '';
  }

  #transfers() {
    const mirror = this.#mirror;
    return [
      { label: texts.files.upload, note: this.#most, act: () => this.#upload.choose() },
      { label: texts.files.uploadFolder, act: () => this.#upload.choose({ whole: true }) },
      { label: texts.files.makeFolder, act: () => this.#makeFolder() },
      { label: texts.files.downloadProject, note: texts.files.zip, act: () => saveProject(this.#project) },
      { label: texts.files.downloadAll, note: texts.files.zip, disabled: !mirror, act: () => mirror && saveFiles(mirror.remote, this.#project.language.name) },
    ];
  }
}
