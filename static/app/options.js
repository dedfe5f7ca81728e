// The options of a run: entry, arguments, environment and standard input.
import { joinArgs, splitArgs } from '../core/args.js';
import { parseEnv } from '../core/env.js';
import { texts } from '../core/texts.js';
import { $, el } from './dom.js';
import { menuOf } from './menu.js';

/**
 * @param {() => import('../core/project.js').Project | null} current returns the project whose options these are
 * @returns {{draw(): void, reset(): void, whole(): boolean}} `whole`: false if something that was typed is invalid, which is then shown
 */
export function setUpOptions(current) {
  menuOf($('options'), $('options-menu'));
  const set = (/** @type {Partial<import('../core/types.js').Options>} */ options) => current()?.set(options);
  const hint = (/** @type {string} */ id, /** @type {string | null} */ problem, /** @type {string} */ usual) => {
    $(id).textContent = problem ?? usual;
    $(id).classList.toggle('problem', problem !== null);
    $(id).classList.toggle('hint', problem === null);
  };
  const form = $('options-form');
  const modes = /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll('input[name="mode"]'));

  $('args').addEventListener('input', () => {
    const words = splitArgs($('args').value);
    hint('args-hint', words ? null : texts.options.quote, texts.options.argsHint);
    // Invalid input is not stored, so a run uses the last valid one (and `whole` refuses it).
    if (words) set({ args: words });
  });
  $('env').addEventListener('input', () => {
    const { problem } = parseEnv($('env').value);
    hint('env-hint', problem, texts.options.envHint);
    if (!problem) set({ env: $('env').value });
  });
  $('entry-file').addEventListener('change', () => set({ entry: $('entry-file').value }));
  $('stdin-file').addEventListener('change', () => set({ stdin: $('stdin-file').value || null }));
  for (const radio of modes) radio.addEventListener('change', () => set({ mode: radio.value === 'pipe' ? 'pipe' : 'tty' }));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    $('options-menu').hidePopover();
  });

  const draw = () => {
    const project = current();
    if (!project) return;
    const { args, env, mode, entry, stdin, paths } = project;
    // A field that is being edited, or that has something invalid, is left as it is.
    if (document.activeElement !== $('args') && splitArgs($('args').value) !== null) {
      $('args').value = joinArgs(args);
      hint('args-hint', null, texts.options.argsHint);
    }
    if (document.activeElement !== $('env') && parseEnv($('env').value).problem === null) {
      $('env').value = env;
      hint('env-hint', null, texts.options.envHint);
    }
    for (const radio of modes) radio.checked = radio.value === mode;
    // The entry may not exist yet, or have been deleted.
    fill($('entry-file'), paths.includes(entry) ? paths : [entry, ...paths], entry);
    fill($('stdin-file'), paths, stdin ?? '', [['', texts.options.typed]]);
    const variables = Object.keys(parseEnv(env).env).length;
    const parts = [
      args.length ? joinArgs(args) : '', variables ? texts.options.variables(variables) : '',
      stdin === null ? '' : `< ${stdin}`, mode === 'pipe' ? texts.options.pipes : '',
    ];
    const summary = parts.filter(Boolean).join(' · ');
    $('options').title = summary;
    $('options-summary').textContent = summary.length > 24 ? `${summary.slice(0, 23)}…` : summary || texts.bar.options;
  };
  return {
    draw,
    /** Another project: drops what was typed and is invalid. */
    reset() {
      $('args').value = '';
      $('env').value = '';
    },
    whole() {
      const wrong = splitArgs($('args').value) === null ? $('args') : parseEnv($('env').value).problem === null ? null : $('env');
      if (!wrong) return true;
      const menu = $('options-menu');
      if (menu.matches(':popover-open')) wrong.focus();
      else {
        menu.addEventListener('toggle', () => wrong.focus(), { once: true }); // after the menu's own listener, which focuses its first item
        $('options').click();
      }
      return false;
    },
  };
}

/** @param {HTMLSelectElement} select @param {string[]} paths @param {string} value @param {[value: string, text: string][]} first */
function fill(select, paths, value, first = []) {
  const wanted = [...first, ...paths.map((path) => [path, path])];
  // An unchanged list is kept, as a new one would close an open selection.
  const same = wanted.length === select.options.length && wanted.every(([path], at) => select.options[at].value === path);
  if (!same) select.replaceChildren(...wanted.map(([path, text]) => el('option', { value: path, textContent: text })));
  select.value = value;
}
