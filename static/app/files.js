// The files: what the user does with their own and with what programs made.
import { size } from '../core/ending.js';
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
import { view } from './viewer.js';

// The types that a browser shows as a picture, also where it does not know where the bytes come from.
const PICTURES = { png: 'image/png', jpg: 'image/jpeg', jpeg: 'image/jpeg', gif: 'image/gif', webp: 'image/webp', svg: 'image/svg+xml', bmp: 'image/bmp' };
const MAX_PICTURE = 16 * 1024 * 1024;
const NO_CLASHES = new Map();

const within = (path, folder) => path === folder || path.startsWith(`${folder}/`);
const parent = (path) => path.slice(0, path.lastIndexOf('/') + 1);

/** `on`: {renamed(from, to), removed(path), chosen(path)}. */
export class Files {
  /** @type {import('../core/project.js').Project} */ #project = /** @type {any} */ (null); // nothing can be done before there is one
  /** @type {(() => unknown) | null} */ #stop = null;
  #on;
  #desk;
  #tree;
  #upload;
  #limits;

  /** @param limits returns the server's: {file_bytes} */
  constructor(desk, limits, on) {
    this.#desk = desk;
    this.#on = on;
    this.#limits = limits;
    this.#tree = new Tree({
      choose: (row) => this.#choose(row), rename: (row) => this.#rename(row),
      remove: (row) => this.#remove(row), menu: (row, anchor) => this.#menu(row, anchor),
    });
    this.#upload = new Upload({ desk, limits, project: () => this.#project });
    $('new-file').addEventListener('click', () => this.create(parent(this.#project.active ?? '')));
    $('no-file-new').addEventListener('click', () => this.create());
    menuOf($('transfer'), $('transfer-menu'), () => fillMenu($('transfer-menu'), this.#transfers()));
    desk.on('mirror', (mirror) => this.#follow(mirror));
  }

  use(project) {
    this.#stop?.();
    this.#project = project;
    this.#stop = project.on('files', () => this.draw());
    this.draw();
  }

  /** The mirror of the project that is shown, while its session lives; else null. */
  get #mirror() {
    const { mirror, session } = this.#desk;
    return mirror && !mirror.over && session.phase === 'open' && mirror.project === this.#project ? mirror : null;
  }

  draw() {
    const mirror = this.#mirror;
    this.#tree.draw({
      own: this.#project.paths, made: mirror?.made ?? [], complete: mirror?.complete ?? true,
      active: this.#project.active, entry: this.#project.entry, conflicts: mirror?.conflicts ?? NO_CLASHES,
    });
    drawTabs(this.#project, (path) => this.#open(path));
  }

  // --- what the workspace tells ---------------------------------------------------------------------------

  #follow(mirror) {
    const draw = () => this.draw();
    for (const event of ['change', 'over']) mirror.on(event, draw);
    mirror.on('conflict', (path) => {
      this.#tell(mirror, path);
      draw();
    });
    mirror.on('settled', (path) => {
      clearBanner(`conflict-${path}`);
      draw();
    });
    mirror.on('failed', (error) => banner('workspace', { title: texts.files.notSent, detail: error.message, dismiss: true }));
  }

  #tell(mirror, path) {
    const { text } = mirror.conflicts.get(path);
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

  async #choose(row) {
    if (row.made && !this.#project.guests.has(row.path)) await this.#visit(row);
    else this.#open(row.path);
  }

  #open(path) {
    if (this.#project.binary(path)) {
      this.#look(path);
      return;
    }
    this.#project.show(path);
    this.#on.chosen(path);
  }

  /** A file of the project that is no text: a picture, or what is known of it. */
  #look(path) {
    const bytes = this.#project.files.get(path);
    const mime = PICTURES[path.split('.').at(-1).toLowerCase()];
    const blob = new Blob([bytes], { type: mime ?? '' });
    const url = mime ? URL.createObjectURL(blob) : null;
    view([{ path, mime: mime ?? '', size: bytes.length, url, save: () => save(Promise.resolve(blob), path) }], 0, () => url && URL.revokeObjectURL(url));
  }

  /** Opens a file that a program made: a text in the editor, anything else large, or told. */
  async #visit({ path, entry }) {
    const mirror = this.#mirror;
    if (!mirror) return;
    const mime = PICTURES[path.split('.').at(-1).toLowerCase()];
    try {
      const text = mime && mime !== PICTURES.svg ? null : await mirror.open(path);
      if (text !== null && !text.includes('\u0000')) {
        this.#project.visit(path, text);
        this.#on.chosen(path);
        return;
      }
      /** @type {{path: string, mime: string, size: number, url: string | null, save(): unknown}} */ const item = { path, mime: mime ?? '', size: entry.size, url: null, save: () => save(mirror.remote.blob(path), path) };
      if (mime && entry.size <= MAX_PICTURE) item.url = URL.createObjectURL(new Blob([await mirror.remote.read(path, MAX_PICTURE)], { type: mime }));
      else item.mime = '';
      view([item], 0, () => item.url !== null && URL.revokeObjectURL(item.url));
    } catch (error) {
      this.#failed(path, error);
    }
  }

  #failed(path, error) {
    banner('workspace', { title: texts.files.failed(path), detail: error.message, dismiss: true });
  }

  /** All names that are taken, but those of `path` and below it. */
  #others(path = null) {
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

  async #rename(row) {
    const { path } = row;
    const to = await ask({ title: texts.files.rename, label: texts.files.newName, value: path, ok: texts.files.rename, check: (value) => pathProblem(value, this.#others(path)) });
    if (to === null || to === path) return;
    const mirror = this.#mirror;
    try {
      const moved = row.folder && mirror ? await mirror.moveFolder(path, to) : false;
      for (const one of this.#project.paths.filter((other) => (row.folder ? within(other, path) : !row.made && other === path))) {
        const name = to + one.slice(path.length);
        this.#on.renamed(one, name);
        this.#project.rename(one, name);
      }
      if (mirror && !moved) await this.#move(mirror, row, to);
    } catch (error) {
      this.#failed(path, error);
    }
    await mirror?.refresh();
  }

  /** Moves what programs made, each file by itself. */
  async #move(mirror, { path, made, folder }, to) {
    await mirror.settle();
    if (!folder && !made) return;
    for (const entry of mirror.made.filter((one) => within(one.path, path) && !one.folder)) {
      await mirror.remote.rename(entry.path, to + entry.path.slice(path.length));
      this.#project.shut(entry.path);
    }
  }

  async #remove(row) {
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
      await mirror.settle();
      await mirror.remote.remove(path);
      this.#project.shut(path);
      await mirror.refresh();
    } catch (error) {
      if (error.code !== 'no_file') this.#failed(path, error);
    }
  }

  /** A program's file becomes the project's, as it is. */
  async #keep({ path }) {
    const text = await this.#mirror?.open(path);
    if (text === null || text === undefined) return;
    this.#project.visit(path, text);
    this.#project.edit(path, text);
  }

  #saveOne({ path, made }) {
    if (!made) save(Promise.resolve(new Blob([this.#project.files.get(path)], { type: this.#project.binary(path) ? '' : 'text/plain' })), path);
    else if (this.#mirror) save(this.#mirror.remote.blob(path), path);
  }

  #menu(row, anchor) {
    const { path, made, folder } = row;
    const run = this.#project.entry === path;
    const entries = folder ? [
      { label: texts.files.menuNew, act: () => this.create(`${path}/`) },
      { label: texts.files.menuUpload, act: () => this.#upload.choose({ folder: `${path}/` }) },
    ] : [
      { label: texts.files.menuDownload, act: () => this.#saveOne(row) },
      ...(made ? [{ label: texts.files.menuKeep, act: () => this.#keep(row), disabled: row.entry.size > MAX_TEXT }]
        : [{ label: texts.files.menuRun, act: () => this.#project.set({ entry: path }), disabled: run || this.#project.binary(path), note: run ? texts.files.isRun : '' }]),
    ];
    openMenu($('file-menu'), anchor, [...entries, { label: texts.files.menuRename, act: () => this.#rename(row) }, { label: texts.files.menuRemove, act: () => this.#remove(row), bad: true }]);
  }

  /** What one file may have, said before. */
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
      { label: texts.files.downloadAll, note: texts.files.zip, disabled: !mirror, act: () => saveFiles(mirror.remote, this.#project.language.name) },
    ];
  }
}
