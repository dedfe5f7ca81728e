// Files from the user's machine: dropped on the page or chosen. They become the project's, bytes that are no text
// included; what the server would not take is left out, and named.
import { textOf } from '../core/bytes.js';
import { size } from '../core/ending.js';
import { pathProblem } from '../core/path.js';
import { unzip } from '../core/zip.js';
import { texts } from '../core/texts.js';
import { ask } from './ask.js';
import { banner } from './banners.js';
import { $ } from './dom.js';

const MAX_FILES = 1000;
const MAX_BYTES = 64 * 1024 * 1024; // of all together
const MAX_TEXT = 2 * 1024 * 1024; // of a file that the editor opens; larger ones are kept as bytes
const MAX_NAMED = 5;
const LEFT_OUT = /(^|\/)(__MACOSX|\.DS_Store|\.git)(\/|$)/;

const say = (title, detail = '') => banner('upload', { tone: 'warn', title, detail, dismiss: true });

/** What was dropped, folders included. @returns {Promise<{path, file}[]>} */
async function dropped(transfer) {
  const roots = [...transfer.items].filter(({ kind }) => kind === 'file').map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  const walk = async (entry, folder) => {
    if (found.length > MAX_FILES || !entry) return;
    if (entry instanceof File) found.push({ path: folder + entry.name, file: entry });
    else if (entry.isFile) found.push({ path: folder + entry.name, file: await new Promise((resolve, reject) => { entry.file(resolve, reject); }) });
    else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
        if (!some.length || found.length > MAX_FILES) break;
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
      all.push({ path, size: file.size, bytes: async () => new Uint8Array(await file.arrayBuffer()) });
      continue;
    }
    const answer = await ask({ title: texts.upload.unpack, text: texts.upload.unpackText(path, size(file.size)), ok: texts.upload.unpackOk, other: texts.upload.keepOne });
    if (answer === null) return null;
    if (answer === 'other') {
      all.push({ path, size: file.size, bytes: async () => new Uint8Array(await file.arrayBuffer()) });
      continue;
    }
    const bounds = { maxFiles: MAX_FILES, maxBytes: MAX_BYTES, language: navigator.language };
    for (const member of await unzip(await import('../dist/zip.js'), new Uint8Array(await file.arrayBuffer()), bounds)) {
      all.push({ path: member.path, size: member.bytes.length, bytes: async () => member.bytes });
    }
  }
  return all.filter(({ path }) => !LEFT_OUT.test(path)).map((file) => ({ ...file, path: file.path.normalize('NFC') }));
}

/** Some names, and how many more there are. */
const named = (paths) => texts.upload.named(paths.slice(0, MAX_NAMED), Math.max(0, paths.length - MAX_NAMED));

/** @param desk its mirror knows what is in the workspace @param limits returns {file_bytes} of the server @param project returns the one that gets them */
export class Upload {
  #desk;
  #limits;
  #project;
  #into = '';

  constructor({ desk, limits, project }) {
    this.#desk = desk;
    this.#limits = limits;
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
      const folder = /** @type {any} */ (event.target).closest?.('[data-folder]')?.dataset.folder;
      const found = await dropped(event.dataTransfer).catch((error) => say(texts.upload.unread, error.message));
      if (found) await this.take(found.map(({ path, file }) => ({ path: folder ? `${folder}/${path}` : path, file })));
    }, { capture: true });
  }

  /** @param {{path: string, file: File}[]} files */
  async take(files) {
    try {
      const all = await unpacked(files);
      if (all === null || !all.length) return;
      await this.#take(all);
    } catch (error) {
      say(texts.upload.failed, error.message);
    }
  }

  async #take(all) {
    const total = all.reduce((sum, file) => sum + file.size, 0);
    if (all.length > MAX_FILES || total > MAX_BYTES) {
      say(texts.upload.tooMuch, texts.upload.tooMuchDetail(MAX_FILES, size(MAX_BYTES), all.length, size(total)));
      return;
    }
    const project = this.#project();
    const wrong = problemOf(all.map(({ path }) => path), project.paths);
    if (wrong) {
      say(texts.upload.notTaken(wrong.path), wrong.problem);
      return;
    }
    const most = this.#limits().file_bytes ?? Infinity;
    const large = all.filter((file) => file.size > most).map(({ path }) => path);
    const fit = all.filter((file) => file.size <= most);
    const leftOut = large.length ? texts.upload.leftOut(named(large), size(most)) : '';
    if (!fit.length) {
      say(texts.upload.nothing, leftOut);
      return;
    }
    const there = (path) => project.files.has(path) || (this.#desk.mirror?.project === project && this.#desk.mirror.entries.has(path));
    const replaced = fit.filter(({ path }) => there(path)).map(({ path }) => path);
    if (replaced.length) {
      const text = texts.upload.replaceText(named(replaced), replaced.length);
      if ((await ask({ title: texts.upload.replace(replaced.length), text, ok: texts.upload.replaceOk })) === null) return;
    }
    await this.#put(fit, project);
    banner('upload', { tone: leftOut ? 'warn' : 'info', title: texts.upload.done(fit.length), detail: leftOut, dismiss: true });
  }

  async #put(all, project) {
    const files = [];
    for (const file of all) {
      const bytes = await file.bytes();
      const text = bytes.length <= MAX_TEXT ? textOf(bytes) : null;
      files.push({ path: file.path, content: text === null || text.includes('\u0000') ? bytes : text });
    }
    project.put(files);
    await project.save(); // only then it is told: bytes are not what a page that goes can leave behind
    if (files.length === 1 && typeof files[0].content === 'string') project.show(files[0].path);
  }
}

/** The first name that cannot be: by itself, beside the project's, or beside the others. */
function problemOf(paths, own) {
  const seen = [];
  for (const path of paths) {
    const twin = seen.find((other) => other === path);
    const problem = twin ? texts.names.twins : pathProblem(path, [...own.filter((other) => other !== path), ...seen]);
    if (problem) return { path, problem };
    seen.push(path);
  }
  return null;
}
