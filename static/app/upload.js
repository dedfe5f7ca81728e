// Files from the user's machine, dropped on the page or chosen. They become part of the project, also files that are no
// text; files that the server would refuse are left out and named.
import { textOf } from '../core/bytes.js';
import { size } from '../core/ending.js';
import { pathProblem } from '../core/path.js';
import { unzip } from '../core/zip.js';
import { messageOf } from '../core/faults.js';
import { texts } from '../core/texts.js';
import { ask } from './ask.js';
import { banner } from './banners.js';
import { $ } from './dom.js';

const MAX_FILES = 1000;
const MAX_BYTES = 64 * 1024 * 1024; // of all together
const MAX_TEXT = 2 * 1024 * 1024; // of a file that the editor opens; larger ones are kept as bytes
const MAX_NAMED = 5;
// Folders of systems and tools that nobody means to upload.
const LEFT_OUT = /(^|\/)(__MACOSX|\.DS_Store|\.git)(\/|$)/;

/** @typedef {import('../core/project.js').Project} Project */
/** @typedef {{path: string, file: File}} Given by the browser */
/** @typedef {{path: string, size: number, bytes(): Promise<Uint8Array<ArrayBuffer>>}} Incoming */

const say = (/** @type {string} */ title, detail = '') => banner('upload', { tone: 'warn', title, detail, dismiss: true });

/** The dropped files, including those in folders. @returns {Promise<Given[]>} */
async function dropped(/** @type {DataTransfer} */ transfer) {
  // Taken at once: the list is emptied when the event handler returns.
  const roots = [...transfer.items].filter(({ kind }) => kind === 'file').map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  /** @type {Given[]} */ const found = [];
  const walk = async (/** @type {FileSystemEntry | File | null} */ entry, /** @type {string} */ folder) => {
    if (found.length > MAX_FILES || !entry) return;
    if (entry instanceof File) found.push({ path: folder + entry.name, file: entry });
    else if (entry.isFile) found.push({ path: folder + entry.name, file: await new Promise((resolve, reject) => { /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject); }) });
    else {
      const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
      // The browser gives the entries of a folder in portions, until an empty one.
      for (;;) {
        /** @type {FileSystemEntry[]} */ const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
        if (!some.length || found.length > MAX_FILES) break;
        for (const child of some) await walk(child, `${folder}${entry.name}/`);
      }
    }
  };
  for (const root of roots) await walk(root, '');
  return found;
}

/** Replaces zip archives by their contents, if the user agrees. */
async function unpacked(/** @type {Given[]} */ files) {
  /** @type {Incoming[]} */ const all = [];
  for (const { path, file } of files) {
    const whole = { path, size: file.size, bytes: async () => new Uint8Array(await file.arrayBuffer()) };
    if (!/\.zip$/i.test(path)) {
      all.push(whole);
      continue;
    }
    const answer = await ask({ title: texts.upload.unpack, text: texts.upload.unpackText(path, size(file.size)), ok: texts.upload.unpackOk, other: texts.upload.keepOne });
    // Declined: nothing at all is taken.
    if (answer === null) return null;
    if (answer === 'other') {
      all.push(whole);
      continue;
    }
    const bounds = { maxFiles: MAX_FILES, maxBytes: MAX_BYTES, language: navigator.language };
    for (const member of await unzip(await import('../dist/zip.js'), await whole.bytes(), bounds)) {
      all.push({ path: member.path, size: member.bytes.length, bytes: async () => member.bytes });
    }
  }
  // In the composed form, which macOS does not give.
  return all.filter(({ path }) => !LEFT_OUT.test(path)).map((file) => ({ ...file, path: file.path.normalize('NFC') }));
}

/** Some names, and the number of the others. */
const named = (/** @type {string[]} */ paths) => texts.upload.named(paths.slice(0, MAX_NAMED), Math.max(0, paths.length - MAX_NAMED));

export class Upload {
  #desk;
  #limits;
  #project;
  #into = '';

  /**
   * @param {{desk: import('./desk.js').Desk, limits(): import('../core/types.js').ServerLimits, project(): Project | null}} page
   *   `desk`: its mirror knows the workspace's files; `project` returns the one that gets the files
   */
  constructor({ desk, limits, project }) {
    this.#desk = desk;
    this.#limits = limits;
    this.#project = project;
    for (const input of [$('upload-input'), $('upload-folder-input')]) {
      input.addEventListener('change', () => {
        const files = [...(input.files ?? [])].map((file) => ({ path: this.#into + (file.webkitRelativePath || file.name), file }));
        // Otherwise choosing the same file again would fire no event.
        input.value = '';
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
    let depth = 0; // dragenter and dragleave are fired for each element on the way
    const mark = (/** @type {boolean} */ on) => document.body.toggleAttribute('data-drop', on);
    const files = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files');
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
      if (!event.dataTransfer || !files(event)) return;
      event.preventDefault();
      event.stopPropagation();
      // A question is open, and its answer comes first.
      if (document.querySelector('dialog[open]')) return;
      /** @type {HTMLElement | null} */ const over = event.target instanceof Element ? event.target.closest('[data-folder]') : null;
      const folder = over?.dataset.folder;
      const found = await dropped(event.dataTransfer).catch((error) => say(texts.upload.unread, messageOf(error)));
      if (found) await this.take(found.map(({ path, file }) => ({ path: folder ? `${folder}/${path}` : path, file })));
    }, { capture: true });
  }

  /** @param {Given[]} files */
  async take(files) {
    try {
      const all = await unpacked(files);
      if (all === null || !files.length) return;
      if (!all.length) {
        say(texts.upload.nothing, texts.upload.empty);
        return;
      }
      await this.#take(all);
    } catch (error) {
      say(texts.upload.failed, messageOf(error));
    }
  }

  async #take(/** @type {Incoming[]} */ all) {
    const total = all.reduce((sum, file) => sum + file.size, 0);
    // Checked before anything is read.
    if (all.length > MAX_FILES || total > MAX_BYTES) {
      say(texts.upload.tooMuch, texts.upload.tooMuchDetail(MAX_FILES, size(MAX_BYTES), all.length, size(total)));
      return;
    }
    const project = this.#project();
    if (!project) return;
    // All names are checked before the first file is taken, so that no upload is done by half.
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
    const { mirror } = this.#desk;
    // In the project, or made by a program.
    const there = (/** @type {string} */ path) => project.files.has(path) || (mirror?.project === project && mirror.entries.has(path));
    const replaced = fit.filter(({ path }) => there(path)).map(({ path }) => path);
    if (replaced.length) {
      const text = texts.upload.replaceText(named(replaced), replaced.length);
      if ((await ask({ title: texts.upload.replace(replaced.length), text, ok: texts.upload.replaceOk })) === null) return;
    }
    await this.#put(fit, project);
    banner('upload', { tone: leftOut ? 'warn' : 'info', title: texts.upload.done(fit.length), detail: leftOut, dismiss: true });
  }

  async #put(/** @type {Incoming[]} */ all, /** @type {Project} */ project) {
    /** @type {import('../core/types.js').File[]} */ const files = [];
    for (const file of all) {
      const bytes = await file.bytes();
      // A NUL shows that it is no text, although it is valid UTF-8.
      const text = bytes.length <= MAX_TEXT ? textOf(bytes) : null;
      files.push({ path: file.path, content: text === null || text.includes('\u0000') ? bytes : text });
    }
    project.put(files);
    await project.save(); // before it is reported: a page that ends cannot store bytes in the synchronous storage
    if (files.length === 1 && typeof files[0].content === 'string') project.show(files[0].path);
  }
}

/** The first invalid name: by itself, or in conflict with the project's or with another of these. */
function problemOf(/** @type {string[]} */ paths, /** @type {string[]} */ own) {
  /** @type {string[]} */ const seen = [];
  for (const path of paths) {
    const twin = seen.find((other) => other === path);
    // The same path in the project is replaced, and no conflict.
    const problem = twin ? texts.names.twins : pathProblem(path, [...own.filter((other) => other !== path), ...seen]);
    if (problem) return { path, problem };
    seen.push(path);
  }
  return null;
}
