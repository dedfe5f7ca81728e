// The page: connects its parts.
import './policy.js'; // before any library makes a style
import { messageOf } from '../core/faults.js';
import { Remote } from '../core/remote.js';
import { texts } from '../core/texts.js';
import { announce } from './announce.js';
import { Artifacts } from './artifacts.js';
import { ask } from './ask.js';
import { banner, clearBanner } from './banners.js';
import { world } from './browser.js';
import { Desk } from './desk.js';
import { $, focusedIn, nameIcons, narrow } from './dom.js';
import { Editor } from './editor.js';
import { Files } from './files.js';
import { setUpHand } from './hand.js';
import { setUpIdentity } from './identity.js';
import { join } from './join.js';
import { setUpKeys } from './keys.js';
import { setUpLanguageMenu } from './language-menu.js';
import { Languages, TONES } from './languages.js';
import { markNews, setUpLayout, showView } from './layout.js';
import { linkLocations } from './links.js';
import { fillMenu, menuOf } from './menu.js';
import { setUpOptions } from './options.js';
import { Parts } from './parts.js';
import { setUpPlaces } from './places.js';
import { Problems } from './problems.js';
import { setUpProjects } from './projects.js';
import { setUpRooms } from './rooms.js';
import { Screen } from './screen.js';
import { setUpSettings } from './settings.js';
import { Shelf } from './shelf.js';
import { setUpShortcuts } from './shortcuts.js';
import { Status } from './status.js';
import { setUpStdin } from './stdin.js';
import { Store } from './store.js';
import { terminalTextSize } from './terminal.js';
import { fillMarkup } from './texts.js';
import { setUpViewer } from './viewer.js';

/** @typedef {import('../core/project.js').Project} Project */

const store = new Store();
join(store);
const shelf = new Shelf(store);
const languages = new Languages();
const look = { textSize: terminalTextSize(store.settings.textSize), screenReader: store.settings.screenReader };
fillMarkup();
nameIcons();
setUpLayout(store);
const program = new Screen($('program-term'), $('outcome'), { label: texts.program.title, ...look });
const shell = new Screen($('shell-term'), $('shell-outcome'), { label: texts.shell.title, ...look });
const screens = [program, shell];
const desk = new Desk({ store, program, shell });
desk.on('mirror', () => desk.session && artifacts.from(new Remote(world, desk.session), () => desk.session?.hello?.limits.view_ms)); // a Remote of its own, which does not wait for uploads
new Status(desk);
const editor = new Editor($('editor'), { onCursor: (at) => { $('cursor-text').textContent = at ? texts.editor.at(at.line, at.column) : ''; } });
const files = new Files(desk, () => languages.limits, {
  renamed: (from, to) => editor.renamed(from, to),
  removed: (path) => editor.forget(path),
  chosen: toCode,
});
/** @type {Project | null} */ let project = null;
const options = setUpOptions(() => project);
setUpViewer();
const artifacts = new Artifacts(store);
const parts = new Parts(() => program.view.refit());
const problems = new Problems({ known: (path) => project?.files.has(path) ?? false, jump, mark: (items) => editor.diagnose(items) });

function toCode() {
  if (narrow.matches) showView('code');
  editor.focus();
}

/** Shows a place in a file of the project. */
function jump(/** @type {import('../core/types.js').Place} */ { path, line, column }) {
  if (!project?.files.has(path)) return;
  project.show(path);
  if (narrow.matches) showView('code');
  editor.reveal(line, column);
}

// --- projects and languages ---------------------------------------------------------------------------------------

const projects = setUpProjects({ shelf, editor, desk, languages, current: () => project, shown: useProject, begun: toCode });

function useProject(/** @type {Project} */ next) {
  project = next;
  // In this order: what follows reads the project's options.
  options.reset();
  store.set({ language: next.language.name });
  desk.project = next;
  files.use(next);
  editor.use(next);
  next.on('files', () => {
    editor.show(next.active);
    options.draw();
  });
  drawLanguages();
  options.draw();
  drawOwner();
}

function drawProgress() {
  const progress = languages.progress();
  $('ready-text').textContent = progress ? texts.languages.readyOf(progress.ready, progress.of) : '';
}

function drawLanguages() {
  const language = project && languages.find(project.language.name);
  if (!language) return;
  $('language-name').textContent = language.title;
  $('language-dot').dataset.tone = TONES[language.status] ?? 'none';
  $('language-text').textContent = language.version?.startsWith(language.title) ? language.version : `${language.title} ${language.version ?? ''}`;
  for (const id of ['open-repl', 'start-repl']) $(id).hidden = !language.repl;
  const ready = language.status === 'ready';
  // A running program can be stopped, whatever the language's state is.
  $('run').disabled = !ready && !program.running;
  $('run').title = ready ? '' : texts.languages.notReady(language.title);
  if (ready) clearBanner('language');
  else if (language.status === 'failed') banner('language', { tone: 'bad', title: texts.languages.notPrepared(language.title), detail: language.message ? texts.inEnglish(language.message, 'language_failed') : '' });
  else banner('language', { tone: 'info', title: texts.languages.isPrepared(language.title), detail: texts.languages.isPreparedDetail });
}

setUpLanguageMenu(languages, { current: () => project?.language.name, choose: (name) => projects.language(name) });
menuOf($('samples'), $('samples-menu'), () => fillMenu($('samples-menu'), (project?.language.samples ?? []).map((sample) => ({
  label: sample.title, act: () => projects.sample(sample),
}))));
menuOf($('more'), $('more-menu'));

// --- run, stop, shell -----------------------------------------------------------------------------------------------

async function run() {
  if (!project || $('run').disabled || !options.whole() || !(await mayBegin())) return;
  project.save();
  $('program-empty').hidden = true;
  if (narrow.matches) showView('program');
  problems.clear();
  artifacts.clear();
  parts.choose('output');
  program.view.fit(); // so that the program starts with the right size
  desk.run();
  drawOwner();
  (project.mode === 'pipe' ? $('stdin-text') : program.view).focus();
}

/** A session of another project has to end first: the user is asked if something runs or was made in it. */
async function mayBegin() {
  const other = desk.foreign;
  if (!other) return true;
  const title = other.running ? texts.session.endProgramTitle : texts.session.endOtherTitle;
  const text = other.running ? texts.session.otherRuns(other.name) : texts.session.otherMade(other.name);
  return (await ask({ title, text, ok: texts.session.endOk })) !== null;
}

/** The name of the project whose program the panes show, if it is not the one that is shown. */
function drawOwner() {
  for (const [screen, id] of /** @type {[Screen, string][]} */ ([[program, 'program-of'], [shell, 'shell-of']])) {
    const name = screen.channel && desk.owner && desk.owner.id !== project?.id ? desk.owner.name : '';
    $(id).textContent = name && texts.program.of(name);
    $(id).hidden = !name;
  }
}

async function openShell(wanted = {}) {
  if (!shell.running && !(await mayBegin())) return;
  document.body.dataset.shell = 'open';
  if (narrow.matches) showView('shell');
  $('shell-empty').hidden = true;
  shell.view.fit(); // so that the shell starts with the right size
  if (project) desk.openShell(wanted);
  shell.view.focus();
}

$('run').addEventListener('click', run);
$('stop').addEventListener('click', (event) => event.detail < 2 && desk.stop()); // not by the second half of a double click on Run
$('leave').addEventListener('click', () => desk.leave());
for (const id of ['open-shell', 'start-shell', 'restart-shell']) $(id).addEventListener('click', () => openShell());
for (const id of ['open-repl', 'start-repl']) $(id).addEventListener('click', () => openShell({ repl: true, entry: project?.entry }));
$('close-shell').addEventListener('click', () => {
  document.body.dataset.shell = 'closed';
  shell.channel?.kill();
  shell.clear();
  $('shell-empty').hidden = false;
});
$('clear-program').addEventListener('click', () => {
  // A running program keeps its terminal; only what was printed is cleared.
  if (program.running) program.view.term.clear();
  else {
    program.clear();
    problems.clear();
    artifacts.clear();
    parts.draw();
    $('program-empty').hidden = false;
  }
});

/** @type {Record<string, Screen | undefined>} */ const terminals = { program, shell };
const shownTerminal = () => {
  if (narrow.matches) return terminals[document.body.dataset.view ?? ''] ?? null;
  return document.activeElement?.closest('.shell') ? shell : program;
};
const pressed = setUpKeys(shownTerminal, editor);
for (const screen of screens) screen.filter = pressed;
setUpStdin(program);

program.on('state', () => {
  const { channel } = program;
  const running = program.running;
  $('run').hidden = running;
  $('stop').hidden = !running;
  $('program-mode').hidden = channel?.mode !== 'pipe';
  if (channel) {
    $('program-empty').hidden = true;
    markNews('program');
  }
  drawLanguages();
  drawOwner();
});
program.on('ended', () => {
  markNews('program');
  // Typing into a terminal without a program has no effect: the focus goes back to the editor, unless something is
  // selected there. On a phone the keyboard is closed, to make room for the output and the other views.
  const here = focusedIn('#program-term, #stdin');
  if (!here || program.running || program.view.term.hasSelection()) return;
  if (narrow.matches) focusedIn('*')?.blur();
  else editor.focus();
});
program.on('diagnostics', (items) => {
  problems.show(items);
  parts.draw();
});
// What was edited is in the workspace before a command is typed.
$('shell-term').addEventListener('focusin', () => desk.push());
shell.on('state', () => {
  if (shell.channel) $('shell-empty').hidden = true;
  if (shell.running) document.body.dataset.shell = 'open';
  $('restart-shell').hidden = shell.running || !shell.channel;
});
for (const screen of screens) {
  screen.on('artifact', (artifact) => {
    artifacts.add(artifact);
    parts.draw();
  });
  screen.view.on('drawn', (bytes) => artifacts.drawn(bytes));
  // The terminal of a program that does not read takes no more input.
  screen.on('overfull', () => banner('input', { title: texts.program.notReading, detail: texts.program.notReadingDetail, dismiss: true }));
  screen.on('long-line', () => banner('long-line', {
    title: texts.program.longLine, detail: texts.program.longLineDetail, dismiss: true,
    action: screen === program ? { label: texts.program.usePipes, act: () => { project?.set({ mode: 'pipe' }); clearBanner('long-line'); } } : null,
  }));
  screen.view.on('refused', (why) => banner('picture', { title: texts.artifacts.refused, detail: why, dismiss: true }));
  linkLocations(screen.view.term, { paths: () => project?.paths ?? [], jump });
}

// --- views, focus, settings -----------------------------------------------------------------------------------------

const step = setUpPlaces({ editor, program, shell });
const help = () => $('help-dialog').showModal();
$('help').addEventListener('click', help);
$('menu-help').addEventListener('click', () => {
  $('more-menu').hidePopover();
  help();
});
$('menu-end').addEventListener('click', () => {
  $('more-menu').hidePopover();
  endSession();
});
$('menu-reset').addEventListener('click', () => {
  $('more-menu').hidePopover();
  projects.again();
});

async function endSession() {
  const { made, running } = desk.atStake;
  if (running || made) {
    const text = [running ? texts.session.endRunning : '', made ? texts.session.endMade : ''].filter(Boolean).join(' ');
    if ((await ask({ title: texts.session.endTitle, text, ok: texts.session.endOk })) === null) return;
  }
  desk.end();
}
setUpSettings(store, screens.map(({ view }) => view));
setUpShortcuts({
  run,
  stop: () => desk.stop(),
  save: async () => announce((await project?.save()) ? texts.projects.kept : texts.projects.notKept),
  problem: (by) => problems.step(by),
  shell: () => (document.activeElement?.closest('.shell') ? editor.focus() : openShell()),
  next: () => step(1),
  previous: () => step(-1),
  help,
});

setUpHand(desk);
const signedIn = setUpIdentity(setUpRooms(desk, store));
desk.on('refused', (code) => code === 'unauthenticated' && signedIn());

// --- begin ------------------------------------------------------------------------------------------------------------

languages.on('reached', (error) => {
  if (error) banner('languages', { tone: 'bad', title: texts.page.noServer, detail: texts.page.againByItself(messageOf(error)) });
  else clearBanner('languages');
});
// Only the first list begins something; later ones update the states.
let begun = false;
languages.on('change', drawProgress);
languages.on('change', async () => {
  if (begun) {
    drawLanguages();
    return;
  }
  const { own, last } = store.session();
  // In the order of certainty: this tab's session, this tab's project, the last choice, the last session.
  const wanted = [own?.language, store.tab?.language, store.settings.language, last?.language].map((name) => name && languages.find(name)).find(Boolean);
  const first = wanted ?? languages.first();
  if (!first) return;
  begun = true;
  await projects.language(first.name, own?.project ?? last?.project ?? null);
  desk.resume().finally(() => {
    // Tests wait for this mark.
    document.body.dataset.ready = '';
  });
});
languages.wanted = () => project?.language.name;
languages.poll();

/** For tests and for use in the console: the session, the screens, and a terminal's content as text. */
Object.assign(window, { coderunner: { desk, editor, languages, screens: { program, shell }, text: (/** @type {string} */ name) => terminals[name]?.view.text() } });
