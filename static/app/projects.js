// Which project is shown: its menu, the samples, the languages; and what is told of keeping it.
import { digest } from '../core/digest.js';
import { texts } from '../core/texts.js';
import { ask } from './ask.js';
import { banner, clearBanner } from './banners.js';
import { $, narrow } from './dom.js';
import { MAX_COLOURED } from './editor.js';
import { showView } from './layout.js';
import { fillMenu, menuOf } from './menu.js';

const MAX_NAME = 60;

const nameProblem = (name) => (!name ? texts.projects.needsName : name.length > MAX_NAME ? texts.projects.longName : null);

/** @param shown called with the project that is shown from now on @param begun after a new one @returns what the menus begin: language(name), sample(sample), again() */
export function setUpProjects({ shelf, editor, desk, languages, current, shown, begun }) {
  let turn = 0; // the last wish of the user counts

  async function turnTo(opening) {
    const mine = (turn += 1);
    const before = current();
    if (before) await keepHistories(before, before.open);
    const project = await opening();
    if (mine !== turn || project === before) return;
    follow(project);
    shown(project);
    $('project-name').textContent = project.name;
    document.title = `${project.name} · CodeRunner`;
  }

  function keepHistories(project, paths) {
    return Promise.all(paths.map((path) => {
      const json = project === current() && project.files.has(path) ? editor.history(path) : null;
      return json && shelf.keepHistory(project, path, digest(project.text(path)), json);
    }));
  }

  function follow(project) {
    project.on('taken', (path) => project === current() && editor.replace(path));
    // Of a large text it would hold the next key up: its undo lives as long as the page.
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

  const choose = async (id) => {
    await turnTo(() => shelf.open(current().language, id));
    if (narrow.matches) showView('files');
  };

  async function make() {
    const { language } = current();
    const name = await ask({ title: texts.projects.newTitle, label: texts.projects.name, value: language.title, ok: texts.projects.create, check: nameProblem });
    if (name === null) return;
    await turnTo(() => shelf.make(language, { name, sample: language.samples[0] ?? null }));
    begun();
  }

  async function rename() {
    const project = current();
    const name = await ask({ title: texts.projects.renameTitle, label: texts.projects.name, value: project.name, ok: texts.projects.renameOk, check: nameProblem });
    if (name === null) return;
    await shelf.rename(project.id, name);
    $('project-name').textContent = name;
  }

  async function remove() {
    const { id, name, language } = current();
    if ((await ask({ title: texts.projects.removeTitle, text: texts.projects.removeText(name), ok: texts.projects.removeOk })) === null) return;
    await turnTo(async () => {
      await current().close();
      await shelf.remove(id);
      return shelf.open(language);
    });
  }

  menuOf($('project'), $('project-menu'), () => {
    const menu = $('project-menu');
    const commands = [
      { label: texts.projects.fresh, act: make }, { label: texts.projects.rename, act: rename }, { label: texts.projects.remove, act: remove, bad: true },
    ];
    fillMenu(menu, commands);
    shelf.list(current().language).then((all) => {
      if (!menu.matches(':popover-open')) return;
      const rows = all.map(({ id, name }) => ({ label: name, checked: id === current().id, act: () => id !== current().id && choose(id) }));
      // Somebody may have gone on in the menu meanwhile, or begun at its end: the focus stays where it is then.
      const at = [...menu.children].indexOf(document.activeElement);
      fillMenu(menu, [...rows, ...commands]);
      const item = at > 0 ? menu.children[rows.length + at] : menu.querySelector('[aria-checked="true"]');
      item?.focus({ focusVisible: false });
    });
  });

  shelf.on('projects', async () => {
    const project = current();
    if (!project) return;
    if (await shelf.renewed()) $('project-name').textContent = project.name;
    else await turnTo(() => shelf.open(project.language));
  });

  return {
    /** @param id of the project, where it is a certain one */
    language: (name, id = null) => turnTo(() => shelf.open(languages.find(name), id)),
    async sample(sample) {
      const { language, touched, id, sample: own } = current();
      const again = !touched && own === sample.name;
      if (!again) await turnTo(() => shelf.make(language, { name: sample.title, sample }));
      if (!again && !touched && !desk.uses(id)) await shelf.remove(id); // it was a sample as it came
      begun();
    },
    again() {
      const { language, sample } = current();
      const found = language.samples.find(({ name }) => name === sample) ?? language.samples[0];
      return turnTo(() => shelf.make(language, { name: found?.title ?? language.title, sample: found ?? null }));
    },
  };
}

const reason = (error) => (error.name === 'QuotaExceededError' ? texts.projects.full : texts.projects.off);
