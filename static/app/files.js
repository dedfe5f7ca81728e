// The tree of files and the tabs of those that are open.
import { pathProblem } from '../core/path.js';
import { ask } from './ask.js';
import { $, el, icon } from './dom.js';
import { openMenu } from './menu.js';

/** `on`: {renamed(from, to), removed(path), chosen(path)}. */
export class Files {
  #project = null;
  #stop = null;
  #on;

  constructor(on) {
    this.#on = on;
    $('new-file').addEventListener('click', () => this.create());
    $('tree').addEventListener('keydown', (event) => this.#keys(event));
  }

  use(project) {
    this.#stop?.();
    this.#project = project;
    this.#stop = project.on('files', () => this.draw());
    this.draw();
  }

  async create() {
    const folder = this.#project.active?.includes('/') ? this.#project.active.replace(/[^/]*$/, '') : '';
    const path = await ask({
      title: 'New file', label: 'Name, with its folder if it has one', value: folder, ok: 'Create',
      check: (value) => pathProblem(value, this.#project.paths),
    });
    if (path === null) return;
    this.#project.create(path);
    this.#on.chosen(path);
  }

  async rename(path) {
    const others = this.#project.paths.filter((other) => other !== path);
    const to = await ask({ title: 'Rename', label: 'New name', value: path, ok: 'Rename', check: (value) => pathProblem(value, others) });
    if (to === null || to === path) return;
    this.#on.renamed(path, to);
    this.#project.rename(path, to);
  }

  async remove(path) {
    const sure = await ask({ title: 'Delete the file?', text: `“${path}” cannot be brought back.`, ok: 'Delete' });
    if (sure === null) return;
    this.#on.removed(path);
    this.#project.remove(path);
  }

  #menu(path, anchor) {
    openMenu($('file-menu'), anchor, [
      { label: 'Rename…', act: () => this.rename(path) },
      { label: 'Run this file', act: () => this.#project.set({ entry: path }), disabled: this.#project.entry === path, note: this.#project.entry === path ? 'is run' : '' },
      { label: 'Delete…', act: () => this.remove(path), bad: true },
    ]);
  }

  draw() {
    this.#drawTree();
    this.#drawTabs();
  }

  #drawTree() {
    const focused = document.activeElement?.closest?.('#tree li')?.dataset.path;
    const rows = [];
    const folders = new Set();
    const inOrder = (a, b) => {
      const [left, right] = [a.split('/'), b.split('/')];
      for (let at = 0; ; at += 1) {
        const [leftLast, rightLast] = [at === left.length - 1, at === right.length - 1];
        if (leftLast !== rightLast) return leftLast ? 1 : -1; // folders before files
        if (left[at] !== right[at] || leftLast) return left[at].localeCompare(right[at]);
      }
    };
    for (const path of this.#project.paths.sort(inOrder)) {
      const parts = path.split('/');
      for (let depth = 1; depth < parts.length; depth += 1) {
        const folder = parts.slice(0, depth).join('/');
        if (folders.has(folder)) continue;
        folders.add(folder);
        rows.push(this.#row(el('li', { className: 'folder', attrs: { role: 'treeitem', 'aria-expanded': 'true', 'aria-level': depth } }, icon('folder'), el('span', { className: 'name', textContent: parts[depth - 1] })), depth - 1));
      }
      rows.push(this.#row(this.#file(path, parts.at(-1), parts.length), parts.length - 1));
    }
    $('tree').replaceChildren(...rows);
    if (focused) $('tree').querySelector(`li[data-path="${CSS.escape(focused)}"]`)?.focus();
  }

  #row(row, depth) {
    row.style.setProperty('--depth', depth);
    return row;
  }

  #file(path, name, level) {
    const active = path === this.#project.active;
    const more = el('button', { className: 'icon-button', type: 'button', tabIndex: -1, attrs: { 'aria-label': `Actions for ${path}` } }, icon('more'));
    more.addEventListener('click', (event) => {
      event.stopPropagation();
      this.#menu(path, more);
    });
    const row = el('li', { tabIndex: active ? 0 : -1, title: path, attrs: { role: 'treeitem', 'aria-selected': active, 'aria-level': level, 'data-path': path } },
      icon('file'), el('span', { className: 'name', textContent: name }),
      this.#project.entry === path && this.#project.files.size > 1 ? el('span', { className: 'entry', textContent: 'run', title: 'This file is run' }) : null, more);
    row.addEventListener('click', () => this.#choose(path));
    row.addEventListener('dblclick', () => this.rename(path));
    row.addEventListener('contextmenu', (event) => {
      event.preventDefault();
      this.#menu(path, row);
    });
    return row;
  }

  #choose(path) {
    this.#project.show(path);
    this.#on.chosen(path);
  }

  #keys(event) {
    const row = event.target.closest('li[data-path]');
    if (!row || event.target !== row) return;
    const rows = [...$('tree').querySelectorAll('li[data-path]')];
    const at = rows.indexOf(row);
    const go = { ArrowDown: rows[at + 1], ArrowUp: rows[at - 1], Home: rows[0], End: rows.at(-1) }[event.key];
    if (go) go.focus();
    else if (event.key === 'Enter' || event.key === ' ') this.#choose(row.dataset.path);
    else if (event.key === 'F2') this.rename(row.dataset.path);
    else if (event.key === 'Delete') this.remove(row.dataset.path);
    else return;
    event.preventDefault();
  }

  #drawTabs() {
    const tabs = this.#project.open.map((path) => {
      const active = path === this.#project.active;
      const name = path.split('/').at(-1);
      const twin = this.#project.open.some((other) => other !== path && other.endsWith(`/${name}`));
      const choose = el('button', { type: 'button', textContent: twin ? path : name, title: path, attrs: { role: 'tab', 'aria-selected': active, tabindex: active ? 0 : -1 } });
      choose.addEventListener('click', () => this.#choose(path));
      choose.addEventListener('keydown', (event) => this.#tabKeys(event, path));
      const close = el('button', { className: 'icon-button', type: 'button', attrs: { 'aria-label': `Close ${path}` } }, icon('close'));
      close.addEventListener('click', () => this.#project.hide(path));
      const tab = el('div', { className: 'tab', attrs: { role: 'presentation' } }, choose, close);
      tab.addEventListener('auxclick', (event) => event.button === 1 && this.#project.hide(path));
      if (active) tab.dataset.active = '';
      return tab;
    });
    $('tabs').replaceChildren(...tabs);
    $('tabs').querySelector('[data-active]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  #tabKeys(event, path) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const { open } = this.#project;
    if (step) {
      this.#project.show(open[(open.indexOf(path) + step + open.length) % open.length]);
      $('tabs').querySelector('[aria-selected="true"]')?.focus();
    } else if (event.key === 'Delete') {
      this.#project.hide(path);
    }
  }
}
