// Which project is shown: the menu of projects, samples, languages; and messages about storing it.
import { digest } from '../core/digest.js';
import { texts } from '../core/texts.js';
import { ask } from './ask.js';
import { banner, clearBanner } from './banners.js';
import { $, focusQuietly, narrow } from './dom.js';
import { MAX_COLOURED } from './editor.js';
import { showView } from './layout.js';
import { fillMenu, menuOf } from './menu.js';

const MAX_NAME = 60;

/** @typedef {import('../core/project.js').Project} Project */

const nameProblem = (/** @type {string} */ name) => (!name ? texts.projects.needsName : name.length > MAX_NAME ? texts.projects.longName : null);

/**
 * @param {{shelf: import('./shelf.js').Shelf, editor: import('./editor.js').Editor, desk: import('./desk.js').Desk,
 *   languages: import('./languages.js').Languages, current(): Project | null, shown(project: Project): void, begun(): void}} page
 *   `shown`: called with the project that is shown from now on; `begun`: after a new one
 * @returns what the menus begin
 */
export function setUpProjects({ shelf, editor, desk, languages, current, shown, begun }) {
  let turn = 0; // the user's last choice counts

  async function turnTo(/** @type {() => Promise<Project>} */ opening) {
    const mine = (turn += 1);
    const before = current();
    // Before the other project is loaded, which may change what is open.
    if (before) await keepHistories(before, before.open);
    const project = await opening();
    // Another choice was made while this one was loading.
    if (mine !== turn || project === before) return;
    follow(project);
    shown(project);
    $('project-name').textContent = project.name;
    document.title = `${project.name} · CodeRunner`;
  }

  function keepHistories(/** @type {Project} */ project, /** @type {string[]} */ paths) {
    return Promise.all(paths.map((path) => {
      const json = project === current() && project.files.has(path) ? editor.history(path) : null;
      return json && shelf.keepHistory(project, path, digest(project.text(path)), json);
    }));
  }

  function follow(/** @type {Project} */ project) {
    // Only the project that is shown has an editor.
    project.on('taken', (path) => project === current() && editor.replace(path));
    // Of a large text this would delay the next key, so its undo history lasts as long as the page.
    project.on('saved', (paths) => keepHistories(project, paths.filter((path) => project.text(path).length <= MAX_COLOURED)));
    project.on('split', ({ path, copy }) => {
      editor.renamed(path, copy);
      banner(`split-${path}`, { title: texts.projects.split(path), detail: texts.projects.splitDetail(copy), dismiss: true });
    });
    project.on('restored', (path) => banner(`split-${path}`, { title: texts.projects.restored(path), detail: texts.projects.restoredDetail, dismiss: true }));
    project.on('unsaved', (error) => {
      if (!error) clearBanner('unsaved');
      else banner('unsaved', { title: texts.projects.unsaved, detail: texts.projects.unsavedDetail(reason(error)), dismiss: true });
    });
  }

  const choose = async (/** @type {string} */ id) => {
    const project = current();
    if (project) await turnTo(() => shelf.open(project.language, id));
    if (narrow.matches) showView('files');
  };

  async function make() {
    const language = current()?.language;
    if (!language) return;
    const name = await ask({ title: texts.projects.newTitle, label: texts.projects.name, value: language.title, ok: texts.projects.create, check: nameProblem });
    if (name === null) return;
    await turnTo(() => shelf.make(language, { name, sample: language.samples[0] ?? null }));
    begun();
  }

  async function rename() {
    const project = current();
    if (!project) return;
    const name = await ask({ title: texts.projects.renameTitle, label: texts.projects.name, value: project.name, ok: texts.projects.renameOk, check: nameProblem });
    if (name === null) return;
    await shelf.rename(project.id, name);
    $('project-name').textContent = name;
  }

  async function remove() {
    const project = current();
    if (!project) return;
    const { id, name, language } = project;
    if ((await ask({ title: texts.projects.removeTitle, text: texts.projects.removeText(name), ok: texts.projects.removeOk })) === null) return;
    await turnTo(async () => {
      await project.close();
      await shelf.remove(id);
      // In the same turn, so that no other choice comes between removing and opening.
      return shelf.open(language);
    });
  }

  menuOf($('project'), $('project-menu'), () => {
    const menu = $('project-menu');
    const commands = [
      { label: texts.projects.fresh, act: make }, { label: texts.projects.rename, act: rename }, { label: texts.projects.remove, act: remove, bad: true },
    ];
    fillMenu(menu, commands);
    const project = current();
    if (!project) return;
    shelf.list(project.language).then((all) => {
      // It was closed while the list was read.
      if (!menu.matches(':popover-open')) return;
      const rows = all.map(({ id, name }) => ({ label: name, checked: id === current()?.id, act: () => id !== current()?.id && choose(id) }));
      // Meanwhile the user may have moved in the menu, so the focus is restored.
      const at = [...menu.children].findIndex((child) => child === document.activeElement);
      fillMenu(menu, [...rows, ...commands]);
      const item = at > 0 ? menu.children[rows.length + at] : menu.querySelector('[aria-checked="true"]');
      focusQuietly(/** @type {HTMLElement | null} */ (item));
    });
  });

  shelf.on('projects', async (told) => {
    const project = current();
    if (!project) return;
    // Renamed in another tab: only the name is redrawn.
    if (await shelf.renewed(told)) {
      $('project-name').textContent = project.name;
      return;
    }
    await turnTo(() => shelf.open(project.language));
    banner('removed', { title: texts.projects.removedElsewhere(project.name), detail: texts.projects.removedElsewhereDetail, dismiss: true });
  });

  return {
    /** `id` of the project, if a particular one is wanted. */
    async language(/** @type {string} */ name, /** @type {string | null} */ id = null) {
      const language = languages.find(name);
      if (language) await turnTo(() => shelf.open(language, id));
    },
    async sample(/** @type {import('../core/types.js').Sample} */ sample) {
      const project = current();
      if (!project) return;
      const { language, touched, id, sample: own } = project;
      // The same sample again is only shown.
      const again = !touched && own === sample.name;
      if (!again) await turnTo(() => shelf.make(language, { name: sample.title, sample }));
      if (!again && !touched && !desk.uses(id)) await shelf.remove(id); // an unchanged sample
      begun();
    },
    async again() {
      const project = current();
      if (!project) return;
      const { language, sample } = project;
      const found = language.samples.find(({ name }) => name === sample) ?? language.samples[0];
      await turnTo(() => shelf.make(language, { name: found?.title ?? language.title, sample: found ?? null }));
    },
  };
}

const reason = (/** @type {Error} */ error) => (error.name === 'QuotaExceededError' ? texts.projects.full : texts.projects.off);
