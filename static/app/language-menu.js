// The menu of languages, with the ready ones first and a field to search.
import { texts } from '../core/texts.js';
import { $, all, el, first, focusQuietly, focusedIn } from './dom.js';
import { TONES } from './languages.js';
import { menuItem, menuOf } from './menu.js';

/** @typedef {import('../core/types.js').Language} Language */

/** @returns {Partial<Record<Language['status'], string>>} */
const notes = () => ({ building: texts.languages.noteBuilding, pending: texts.languages.notePending, failed: texts.languages.noteFailed });
/** @type {['ready' | 'building' | 'failed', string[]][]} */
const GROUPS = [['ready', ['ready']], ['building', ['building', 'pending']], ['failed', ['failed']]];
const byTitle = (/** @type {Language} */ a, /** @type {Language} */ b) => a.title.localeCompare(b.title, texts.locale, { sensitivity: 'base' });

/** How well the typed text matches a language: 0 best, null not at all. Its files' extensions count as well. */
function rank(/** @type {Language} */ { title, name, extensions = [] }, /** @type {string} */ typed) {
  const word = typed.trim().toLowerCase();
  const names = [title.toLowerCase(), name.toLowerCase()];
  if (!word || names.includes(word)) return 0;
  if (extensions.some((ending) => ending.toLowerCase() === (word.startsWith('.') ? word : `.${word}`))) return 1;
  if (names.some((one) => one.startsWith(word))) return 2;
  return names.some((one) => one.includes(word)) ? 3 : null;
}

/**
 * @param {import('./languages.js').Languages} languages
 * @param {{current(): string | undefined, choose(name: string): unknown}} page `current`: the name of the language in use
 */
export function setUpLanguageMenu(languages, { current, choose }) {
  const [menu, list, filter] = [$('language-menu'), $('language-list'), $('language-filter')];
  const items = () => all('#language-list [role="menuitemradio"]');

  function draw() {
    // Redrawing must not take the focus from the item that has it.
    const focused = focusedIn('#language-list [data-language]')?.dataset.language;
    const found = languages.list.map((language) => ({ language, at: rank(language, filter.value) })).flatMap(({ language, at }) => (at === null ? [] : [{ language, at }]));
    found.sort((a, b) => a.at - b.at || byTitle(a.language, b.language));
    const groups = [];
    for (const [group, statuses] of GROUPS) {
      const title = texts.languages[group];
      const rows = found.filter(({ language }) => statuses.includes(language.status));
      if (!rows.length) continue;
      groups.push(el('div', { attrs: { role: 'group', 'aria-label': title } },
        // A single group of ready languages needs no title.
        rows.length < found.length || group !== 'ready' ? el('p', { className: 'group-title', textContent: title, attrs: { 'aria-hidden': 'true' } }) : null,
        ...rows.map(({ language }) => row(language))));
    }
    list.replaceChildren(...groups);
    const progress = languages.progress();
    $('language-progress').hidden = progress === null;
    if (progress) $('language-progress').textContent = texts.languages.progress(progress.ready, progress.of, progress.building);
    $('language-none').hidden = groups.length > 0;
    if (focused) focusQuietly(first(`#language-list [data-language="${CSS.escape(focused)}"]`));
  }

  function row(/** @type {Language} */ language) {
    const item = menuItem({
      label: language.title, note: notes()[language.status] ?? language.version, checked: language.name === current(),
      dot: TONES[language.status], act: () => pick(language.name),
    });
    item.dataset.language = language.name;
    return item;
  }

  function pick(/** @type {string} */ name) {
    menu.hidePopover();
    choose(name);
  }

  menuOf($('language'), menu, () => {
    filter.value = '';
    draw();
  });
  filter.addEventListener('input', draw);
  filter.addEventListener('keydown', (event) => {
    const [top] = items();
    if (!top || (event.key !== 'ArrowDown' && event.key !== 'Enter')) return;
    // Enter chooses the best match, without going through the list.
    event.preventDefault();
    if (event.key === 'Enter') pick(top.dataset.language ?? '');
    else top.focus();
  });
  // A letter typed on an item continues in the field, and so does ArrowUp from the first item.
  list.addEventListener('keydown', (event) => {
    const up = event.key === 'ArrowUp' && document.activeElement === items()[0];
    if (!up && (event.key.length !== 1 || event.key === ' ' || event.ctrlKey || event.metaKey || event.altKey)) return;
    if (up) {
      event.preventDefault();
      event.stopPropagation();
    }
    filter.focus();
  });
  languages.on('change', () => menu.matches(':popover-open') && draw());
}
