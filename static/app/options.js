// How the program is run: what is run, with which arguments, environment and input.
import { joinArgs, splitArgs } from '../core/args.js';
import { parseEnv } from '../core/env.js';
import { $, el } from './dom.js';
import { menuOf } from './menu.js';

const ARGS_HINT = 'As in a shell: spaces separate, quotes keep together.';
const ENV_HINT = 'A line each; # begins a remark.';

/**
 * @param project returns the project whose options these are
 * @returns {{draw(): void, reset(): void, whole(): boolean}} `whole`: false where something that was typed cannot be used; it is shown
 */
export function setUpOptions(project) {
  menuOf($('options'), $('options-menu'));
  const say = (id, problem, hint) => {
    $(id).textContent = problem ?? hint;
    $(id).classList.toggle('problem', problem !== null);
    $(id).classList.toggle('hint', problem === null);
  };
  const form = $('options-form');

  $('args').addEventListener('input', () => {
    const words = splitArgs($('args').value);
    say('args-hint', words ? null : 'A quote is not closed.', ARGS_HINT);
    if (words) project().set({ args: words });
  });
  $('env').addEventListener('input', () => {
    const { problem } = parseEnv($('env').value);
    say('env-hint', problem, ENV_HINT);
    if (!problem) project().set({ env: $('env').value });
  });
  form.addEventListener('change', ({ target }) => {
    if (target.name === 'mode') project().set({ mode: form.elements.mode.value });
    if (target.id === 'entry-file') project().set({ entry: target.value });
    if (target.id === 'stdin-file') project().set({ stdin: target.value || null });
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    $('options-menu').hidePopover();
  });

  const draw = () => {
    const { args, env, mode, entry, stdin, paths } = project();
    if (document.activeElement !== $('args') && splitArgs($('args').value) !== null) {
      $('args').value = joinArgs(args);
      say('args-hint', null, ARGS_HINT);
    }
    if (document.activeElement !== $('env') && parseEnv($('env').value).problem === null) {
      $('env').value = env;
      say('env-hint', null, ENV_HINT);
    }
    for (const radio of form.elements.mode) radio.checked = radio.value === mode;
    fill($('entry-file'), paths.includes(entry) ? paths : [entry, ...paths], entry);
    fill($('stdin-file'), paths, stdin ?? '', [['', 'What is typed']]);
    const variables = Object.keys(parseEnv(env).env).length;
    const parts = [
      args.length ? joinArgs(args) : '', variables ? `${variables} variable${variables > 1 ? 's' : ''}` : '',
      stdin === null ? '' : `< ${stdin}`, mode === 'pipe' ? 'pipes' : '',
    ];
    const summary = parts.filter(Boolean).join(' · ');
    $('options').title = summary;
    $('options-summary').textContent = summary.length > 24 ? `${summary.slice(0, 23)}…` : summary || 'Options';
  };
  return {
    draw,
    /** Another project: what was typed and could not be used goes. */
    reset() {
      $('args').value = '';
      $('env').value = '';
    },
    whole() {
      const wrong = splitArgs($('args').value) === null ? $('args') : parseEnv($('env').value).problem === null ? null : $('env');
      if (!wrong) return true;
      if (!$('options-menu').matches(':popover-open')) $('options').click();
      wrong.focus();
      return false;
    },
  };
}

function fill(select, paths, value, first = []) {
  const wanted = [...first, ...paths.map((path) => [path, path])];
  const same = wanted.length === select.options.length && wanted.every(([path], at) => select.options[at].value === path);
  if (!same) select.replaceChildren(...wanted.map(([path, text]) => el('option', { value: path, textContent: text })));
  select.value = value;
}
