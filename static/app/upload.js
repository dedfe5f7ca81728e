// Files from the user's machine: dropped on the page or chosen. Texts become the project's; what is no text, or too
// large to be kept in this browser, goes to the session's workspace.
import { textOf } from '../core/bytes.js';
import { size } from '../core/ending.js';
import { pathProblem } from '../core/path.js';
import { unzip } from '../core/zip.js';
import { ask } from './ask.js';
import { banner } from './banners.js';
import { $ } from './dom.js';

const MOST_FILES = 1000;
const MOST_BYTES = 64 * 1024 * 1024; // of all together
const MOST_TEXT = 256 * 1024; // of a file that the project keeps
const MOST_PROJECT = 2 * 1024 * 1024; // of all that it keeps
const LEFT_OUT = /(^|\/)(__MACOSX|\.DS_Store|\.git)(\/|$)/;

const say = (title, detail = '') => banner('upload', { tone: 'warn', title, detail, dismiss: true });

/** What was dropped, folders included. @returns {Promise<{path, file}[]>} */
async function dropped(transfer) {
  const roots = [...transfer.items].filter(({ kind }) => kind === 'file').map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  const walk = async (entry, folder) => {
    if (found.length > MOST_FILES || !entry) return;
    if (entry instanceof File) found.push({ path: folder + entry.name, file: entry });
    else if (entry.isFile) found.push({ path: folder + entry.name, file: await new Promise((resolve, reject) => { entry.file(resolve, reject); }) });
    else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
        if (!some.length || found.length > MOST_FILES) break;
        for (const child of some) await walk(child, `${folder}${entry.name}/`);
      }
    }
  };
  for (const root of roots) await walk(root, '');
  return found;
}

/** Zip archives become what is in them, where the user wants that. */
async function unpacked(files) {
  const all = [];
  for (const { path, file } of files) {
    if (!/\.zip$/i.test(path)) {
      all.push({ path, size: file.size, bytes: async () => new Uint8Array(await file.arrayBuffer()), body: file });
      continue;
    }
    const answer = await ask({ title: 'Unpack the archive?', text: `“${path}” (${size(file.size)}) can be unpacked, or kept as one file.`, ok: 'Unpack', other: 'Keep as one file' });
    if (answer === null) return null;
    if (answer === 'other') {
      all.push({ path, size: file.size, bytes: async () => new Uint8Array(await file.arrayBuffer()), body: file });
      continue;
    }
    const bounds = { mostFiles: MOST_FILES, mostBytes: MOST_BYTES };
    for (const member of await unzip(new Uint8Array(await file.arrayBuffer()), bounds)) {
      all.push({ path: member.path, size: member.bytes.length, bytes: async () => member.bytes, body: member.bytes });
    }
  }
  return all.filter(({ path }) => !LEFT_OUT.test(path));
}

/** @param desk its `opened()` gives the workspace @param project returns the one that gets them */
export class Upload {
  #desk;
  #project;
  #into = '';

  constructor({ desk, project }) {
    this.#desk = desk;
    this.#project = project;
    for (const id of ['upload-input', 'upload-folder-input']) {
      $(id).addEventListener('change', ({ target }) => {
        const files = [...target.files].map((file) => ({ path: this.#into + (file.webkitRelativePath || file.name), file }));
        target.value = '';
        this.take(files);
      });
    }
    this.#setUpDrop();
  }

  /** @param folder '' or a path that ends with / */
  choose({ folder = '', whole = false } = {}) {
    this.#into = folder;
    $(whole ? 'upload-folder-input' : 'upload-input').click();
  }

  #setUpDrop() {
    let depth = 0; // dragenter and dragleave come for each element on the way
    const mark = (on) => document.body.toggleAttribute('data-drop', on);
    const files = (event) => event.dataTransfer?.types.includes('Files');
    addEventListener('dragenter', (event) => {
      if (!files(event)) return;
      depth += 1;
      mark(true);
    });
    addEventListener('dragleave', (event) => {
      if (!files(event)) return;
      depth -= 1;
      if (depth <= 0) mark(false);
    });
    addEventListener('dragover', (event) => files(event) && event.preventDefault());
    addEventListener('drop', async (event) => {
      depth = 0;
      mark(false);
      if (!files(event)) return;
      event.preventDefault();
      event.stopPropagation();
      if (document.querySelector('dialog[open]')) return;
      const folder = event.target.closest?.('[data-folder]')?.dataset.folder;
      const found = await dropped(event.dataTransfer).catch((error) => say('What was dropped could not be read.', error.message));
      if (found) await this.take(found.map(({ path, file }) => ({ path: folder ? `${folder}/${path}` : path, file })));
    }, { capture: true });
  }

  /** @param files {path, file}[] */
  async take(files) {
    try {
      const all = await unpacked(files);
      if (all === null || !all.length) return;
      await this.#take(all);
    } catch (error) {
      say('The upload did not work.', error.message);
    }
  }

  async #take(all) {
    const total = all.reduce((sum, file) => sum + file.size, 0);
    if (all.length > MOST_FILES || total > MOST_BYTES) {
      say('That is too much at once.', `At most ${MOST_FILES} files and ${size(MOST_BYTES)}; these are ${all.length} with ${size(total)}.`);
      return;
    }
    const project = this.#project();
    const wrong = all.map(({ path }) => [path, pathProblem(path, project.paths.filter((own) => own !== path))]).find(([, problem]) => problem);
    if (wrong) {
      say(`“${wrong[0]}” cannot be taken.`, wrong[1]);
      return;
    }
    const there = (path) => project.files.has(path) || (this.#desk.mirror?.project === project && this.#desk.mirror.entries.has(path));
    const replaced = all.filter(({ path }) => there(path));
    if (replaced.length) {
      const names = replaced.slice(0, 5).map(({ path }) => `“${path}”`).join(', ');
      const text = `${names}${replaced.length > 5 ? ` and ${replaced.length - 5} more` : ''} ${replaced.length === 1 ? 'is' : 'are'} there already.`;
      if ((await ask({ title: replaced.length === 1 ? 'Replace the file?' : `Replace ${replaced.length} files?`, text, ok: 'Replace' })) === null) return;
    }
    await this.#put(all, project);
  }

  async #put(all, project) {
    let kept = project.list().reduce((sum, { content }) => sum + content.length, 0);
    const remote = [];
    const texts = [];
    for (const file of all) {
      const text = file.size <= MOST_TEXT && kept + file.size <= MOST_PROJECT ? textOf(await file.bytes()) : null;
      if (text === null || text.includes('\u0000')) {
        remote.push(file);
      } else {
        kept += text.length;
        texts.push({ path: file.path, content: text });
      }
    }
    if (texts.length) project.put(texts);
    if (texts.length && all.length === 1) project.show(all[0].path);
    if (remote.length) await this.#write(remote, project);
    const count = (number) => `${number} file${number === 1 ? '' : 's'}`;
    banner('upload', {
      tone: 'info', title: `${count(all.length)} uploaded.`, dismiss: true,
      detail: remote.length ? `${count(remote.length)} of them went into the session only, as they are no text or large: they go with it.` : '',
    });
  }

  async #write(files, project) {
    const mirror = await this.#desk.opened();
    let done = 0;
    for (const { path, body } of files) {
      banner('upload', { tone: 'info', title: `Uploading ${done + 1} of ${files.length} …`, detail: path });
      if (project.files.has(path)) project.remove(path); // the user said that it is to be replaced
      await mirror.settle();
      await mirror.remote.write(path, body);
      done += 1;
    }
    await mirror.refresh();
  }
}
