// Connects the page with a session: begins one when something is to run, shows its channels on the two screens, resumes
// it after a reload, and ends it.
import { randomId } from '../core/bytes.js';
import { CodecError } from '../core/codec.js';
import { parseEnv } from '../core/env.js';
import { Emitter } from '../core/events.js';
import { messageOf, present } from '../core/faults.js';
import { FIRST_ROOM, Mirror, RUN_ROOM, fits, isText } from '../core/mirror.js';
import { problem } from '../core/problem.js';
import { Remote } from '../core/remote.js';
import { Session } from '../core/session.js';
import { texts } from '../core/texts.js';
import { unzip, zip } from '../core/zip.js';
import { banner, clearBanner } from './banners.js';
import { world } from './browser.js';
import { Keeper } from './keeper.js';
import { drain } from './screen.js';
import { claim } from './store.js';

/** Without compression: the workspace's limit counts uncompressed bytes. @param {import('../core/parcels.js').Packed[]} files */
const pack = async (files) => zip(await import('../dist/zip.js'), files, { level: 0 });
const unpack = async (/** @type {Uint8Array<ArrayBuffer>} */ archive) => unzip(await import('../dist/zip.js'), archive, { maxFiles: 10_000, maxBytes: 64 * 1024 * 1024 });

// For an earlier page of this tab to release the session's name: a reload may overlap with it.
const CLAIM_MS = 2000;
// The server finds an opening by its nonce for 60 s (fleet/registry.py), less some time for the way there.
const NONCE_LIVES_MS = 55_000;
const SETTLE_MS = 3000; // a run waits this long for the workspace to be as the project is

/** @typedef {import('../core/channel.js').Channel} Channel */
/** @typedef {import('../core/project.js').Project} Project */
/** @typedef {import('../core/types.js').TextFile} TextFile */
/** @typedef {import('./screen.js').Screen} Screen */
/** @typedef {Pick<Project, 'id' | 'name'> & {files: ReadonlyMap<string, unknown>}} Owner of a session: its project, or the stored facts about one that is not shown */

/**
 * Events: `change` (anything of the session or its channels), `mirror` (of a new session), `notice`, `over` (why),
 * `refused` (the code of an error of the server), `people` (who is attached).
 * @extends {Emitter<{change: undefined, mirror: Mirror, notice: import('../core/messages.js').Notice, over: string, refused: string, people: import('../core/messages.js').Person[]}>}
 */
export class Desk extends Emitter {
  #store;
  #client = randomId();
  /** @type {(() => void) | null} */ #again = null;
  /** @type {Project | null} */ #project = null;
  /** @type {Set<Screen>} */ #preparing = new Set(); // screens whose program waits for files
  #keeper;

  /** @param {{store: import('./store.js').Store, program: Screen, shell: Screen}} page */
  constructor({ store, program, shell }) {
    super();
    this.#store = store;
    this.program = program;
    this.shell = shell;
    /** @type {Session | null} */ this.session = null;
    /** @type {Owner | null} */ this.owner = null; // the project that the session was begun with
    /** @type {Mirror | null} */ this.mirror = null;
    /** @type {string | null} */ this.room = null; // in which sessions are opened, whose teachers may watch
    program.on('ended', () => this.#runAgain());
    this.#keeper = new Keeper(store, () => this.session, () => this.#record());
    // `offline` as well: the server may be on this machine, so the connection is tested at once.
    for (const event of ['online', 'offline']) addEventListener(event, () => this.session?.hurry());
    addEventListener('pageshow', (event) => event.persisted && this.session?.hurry());
    document.addEventListener('visibilitychange', () => !document.hidden && this.session?.hurry());
  }

  /** The project that is shown. Nothing runs before there is one. @returns {Project} */
  get project() {
    return present(this.#project);
  }

  set project(project) {
    this.#project = project;
    if (this.owner?.id === project.id) this.owner = project;
    if (this.mirror) this.mirror.project = this.owner === project ? project : null;
  // The mirror only follows the project that owns the session.
  }

  /** Whether the session is this project's, and lives. */
  uses(/** @type {string} */ id) {
    return this.owner?.id === id && this.session !== null && this.session.phase !== 'over';
  }

  /** The session of another project, if its end would lose something: {name, running}, or null. */
  get foreign() {
    if (!this.session || this.session.phase === 'over' || this.uses(this.project.id)) return null;
    const { running, made } = this.atStake;
    return running || made ? { name: this.owner?.name ?? '', running } : null;
  }

  /** What would be lost with the session. */
  get atStake() {
    const live = this.session !== null && this.session.phase === 'open';
    const own = new Set(this.owner?.files.keys());
    // Any file that the project does not have was made in the workspace.
    const made = live && [...(this.mirror?.entries.values() ?? [])].some(({ path, folder }) => !folder && !own.has(path));
    return { running: live && (this.program.running || this.shell.running), made };
  }

  /** Resumes the session that this tab had before a reload or, in a new tab, one that no other tab has. */
  async resume() {
    const { own, last } = this.#store.session();
    const record = own ?? last;
    if (!record) return;
    // The page was reloaded while it waited in the queue.
    if (own && !record.session) {
      if (Date.now() - record.at < NONCE_LIVES_MS) this.#beginAgain(record);
      return;
    }
    const mine = await claim(record.session ?? '', own ? { waitMs: CLAIM_MS, otherwise: true } : { otherwise: false });
    // Another tab may have it, or the user has begun one meanwhile.
    if (!mine || this.session) {
      if (own) this.#store.saveSession(null); // a copy of a tab: the session is the other's
      return;
    }
    this.#keeper.claimed = record.session ?? null;
    this.#client = record.client;
    this.#adopt(this.#ownerOf(record), record.sent).session.resume(record);
  }

  /** @returns {Owner} */
  #ownerOf(/** @type {Partial<import('./store.js').PageRecord>} */ { project = this.project.id, name = texts.projects.another, files = [] }) {
    return project === this.project.id ? this.project : { id: project, name, files: new Map(files.map((path) => [path, null])) };
  }

  /** The page was reloaded before its session existed: the server keeps its place in the queue for a moment. */
  #beginAgain(/** @type {import('./store.js').PageRecord} */ record) {
    if (record.project !== this.project.id) return;
    this.#client = record.client;
    const wantsRun = record.wanted.includes('run');
    this.#begin(this.#adopt(this.project), record.language, wantsRun ? [] : this.project.list(), { nonce: record.nonce });
    if (wantsRun) this.run();
    if (record.wanted.includes('shell')) this.openShell();
  }

  // --- what the user does -----------------------------------------------------------------------------------

  run() {
    if (this.program.running) {
      this.#again = () => this.run();
      this.program.channel?.kill(); // also one that waits for its session: the place in the queue is kept
      return;
    }
    const mirror = this.session?.phase === 'open' && this.uses(this.project.id) ? this.mirror : null;
    // Too much for one message: it is uploaded first.
    if (!fits(mirror ? mirror.toSend() : this.project.list(), RUN_ROOM)) this.#bring(this.program, () => this.#run());
    else if (mirror?.busy) this.#runSettled(mirror);
    else this.#run();
  }

  /** Uploads what does not fit into a message, then `go` begins a program in this screen. */
  async #bring(/** @type {Screen} */ screen, /** @type {() => void} */ go) {
    if (this.#preparing.has(screen)) return;
    this.#preparing.add(screen);
    screen.prepare();
    try {
      const mirror = await this.opened();
      mirror.push();
      await mirror.settle();
      if (!mirror.over) go();
    } catch (error) {
      screen.clear();
      banner('error', { title: texts.program.notStartedTitle, detail: messageOf(error), dismiss: true });
    } finally {
      this.#preparing.delete(screen);
    }
  }

  /** A file was just renamed or deleted, or a program wrote one: the run waits until the workspace agrees. */
  async #runSettled(/** @type {Mirror} */ mirror) {
    if (this.#preparing.has(this.program)) return;
    this.#preparing.add(this.program);
    this.program.prepare();
    /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
    /** @type {Promise<boolean>} */ const late = new Promise((resolve) => { timer = setTimeout(resolve, SETTLE_MS, false); });
    const settled = await Promise.race([mirror.settle(), late]);
    clearTimeout(timer);
    this.#preparing.delete(this.program);
    if (settled || (!mirror.over && !mirror.owing)) { // otherwise it is only listing files, which a run need not wait for
      this.#run();
      return;
    }
    this.end(); // the workspace may still have files that were deleted here
    if (fits(this.project.list(), RUN_ROOM)) this.#run();
    else await this.#bring(this.program, () => this.#run());
    this.program.say(texts.program.newSession);
  }

  #run() {
    const { entry, args, mode, stdin, env: variables } = this.project;
    const { env } = parseEnv(variables);
    this.#start(this.program, (session, mirror) => {
      const files = mirror.toSend().filter(isText); // the others were uploaded
      const channel = session.run({ mode, files, entry, args, env, ...(stdin === null ? {} : { stdin }), ...(mode === 'tty' ? this.program.view.size : {}) });
      const sending = mirror.sending(files);
      // Whichever comes first shows that the agent has written the files.
      for (const event of /** @type {const} */ (['phase', 'exit'])) channel.on(event, () => sending.done());
      channel.on('lost', () => sending.failed());
      return channel;
    });
  }

  stop() {
    const { session } = this;
    // Without a session there is no program to kill: the request is withdrawn.
    if (session && session.phase !== 'open') this.leave();
    else this.program.channel?.kill();
  }

  /** Sends edited files to the workspace of a live session, so that commands in its shell find them. */
  push() {
    if (this.session?.phase === 'open' && this.session.link.up && this.session.role === 'control') this.mirror?.push();
  }

  /** @param {{repl?: boolean, entry?: string}} options the language's own prompt, which replaces what is open */
  openShell(options = {}) {
    this.push();
    if (this.shell.running) {
      if (!options.repl) return;
      this.shell.channel?.on('exit', () => this.openShell(options));
      this.shell.channel?.kill();
      return;
    }
    const files = this.project.list();
    const go = () => this.#start(this.shell, (session) => session.shell({ ...this.shell.view.size, ...options }), files);
    const open = this.session?.phase === 'open' && this.uses(this.project.id);
    if (open || fits(files, FIRST_ROOM)) go();
    else this.#bring(this.shell, go);
  }

  /**
   * @param {Screen} screen @param {(session: Session, mirror: Mirror) => Channel} ask
   * @param {import('../core/types.js').File[]} files what a new session is to have before anything has run in it
   */
  #start(screen, ask, files = []) {
    clearBanner('error');
    const { session, mirror } = this.#ready(files);
    try {
      const channel = ask(session, mirror);
      this.#watch(channel, mirror);
      screen.show(channel, session);
    } catch (error) {
      // Only faults of what was sent, such as too long an argument; anything else is a bug.
      if (!(error instanceof CodecError)) throw error;
      banner('error', { title: texts.program.notSent, tone: 'bad', ...problem(error), dismiss: true });
    }
    this.#changed();
  }

  /** Gives up the place in the queue. */
  leave() {
    this.#again = null;
    this.session?.close();
  }

  end() {
    this.session?.close();
  }

  // --- the session --------------------------------------------------------------------------------------------

  /** The session of the project; begins one if there is none. */
  #ready(/** @type {import('../core/types.js').File[]} */ files) {
    const { session, mirror } = this;
    if (session && mirror && this.uses(this.project.id)) {
      // The connection was given up after too many failures; the user's request tries again.
      if (session.link.stopped) session.reconnect();
      return { session, mirror };
    }
    session?.close();
    const begun = this.#adopt(this.project);
    this.#begin(begun, this.project.language.name, files);
    return begun;
  }

  /** A session with the project's files, also if nothing runs yet. @returns {Promise<Mirror>} rejects if none can be opened */
  opened() {
    const { session, mirror } = this.#ready(this.project.list());
    this.#changed();
    return new Promise((resolve, reject) => {
      const look = () => {
        if (session.phase === 'open') resolve(mirror);
        else if (session.phase === 'over') reject(new Error(texts.upload.noSession));
        else return;
        stop();
      };
      const stop = session.on('change', look);
      // It may be open already, without another event.
      look();
    });
  }

  /** @param {{session: Session, mirror: Mirror}} begun @param {string} language @param {import('../core/types.js').File[]} all @param {{nonce?: string}} options */
  #begin({ session, mirror }, language, all, options = {}) {
    const files = fits(all, FIRST_ROOM) ? all : []; // otherwise they are sent with a run, or uploaded
    const sending = mirror.sending(files);
    const stop = session.on('change', () => {
      if (session.phase === 'over') sending.failed();
      else if (session.phase === 'open') sending.done();
      else return;
      stop();
    });
    session.begin({ language, files, ...options, ...(this.room === null ? {} : { room: this.room }) });
  }

  /** A session of this project, which is to be begun or resumed. @param {Owner} owner @param {import('./store.js').PageRecord['sent']} sent */
  #adopt(owner, sent = {}) {
    const session = new Session(world, { client: this.#client });
    this.session = session;
    this.owner = owner;
    this.mirror?.dispose();
    const mirror = new Mirror({ remote: new Remote(world, session), timers: world.timers, sent, pack, unpack });
    if (owner === this.project) mirror.project = this.project;
    this.mirror = mirror;
    this.emit('mirror', mirror);
    clearBanner('over');
    // Once for each connection, and not for each change.
    let up = false;
    session.on('change', () => {
      if (session.link.up && !up) mirror.refresh();
      up = session.link.up;
    });
    session.on('workspace', () => mirror.refresh());
    session.on('over', () => mirror.dispose());
    // Events of an earlier session, which may still come, must not change what is shown.
    /** @template Detail @param {(detail: Detail) => unknown} act @returns {(detail: Detail) => unknown} */
    const current = (act) => (detail) => session === this.session && act(detail);
    session.on('change', current(() => this.#changed()));
    session.on('channel', current((/** @type {Channel} */ channel) => this.#found(channel, session, mirror)));
    session.on('error', current((/** @type {import('../core/messages.js').ErrorMessage} */ error) => this.#failed(error)));
    session.on('people', current((/** @type {import('../core/messages.js').Person[]} */ people) => this.emit('people', people)));
    session.on('notice', current((/** @type {import('../core/messages.js').Notice} */ notice) => this.emit('notice', notice)));
    session.on('over', current((/** @type {{reason: string}} */ { reason }) => this.emit('over', reason)));
    // A fault in the handling of one message does not end the session.
    session.on('fault', (fault) => console.warn(fault));
    return { session, mirror };
  }

  /** A channel that an earlier page or another attachment began. */
  #found(/** @type {Channel} */ channel, /** @type {Session} */ session, /** @type {Mirror} */ mirror) {
    const screen = channel.kind === 'shell' ? this.shell : this.program;
    // Several may be found after a reload: the newest stays on the screen.
    const newer = screen.channel && screen.session === session && screen.channel.id > channel.id;
    this.#watch(channel, mirror);
    if (channel.shown && !newer) screen.show(channel, session);
    else drain(channel);
  }

  /** Files that it wrote at its very end are looked for, whether or not the server has reported them. */
  #watch(/** @type {Channel} */ channel, /** @type {Mirror} */ mirror) {
    channel.on('exit', () => mirror.refresh());
  }

  #failed(/** @type {import('../core/messages.js').ErrorMessage} */ error) {
    this.emit('refused', error.code);
    const told = problem(error);
    const refused = this.program.channel?.phase === 'lost' || this.shell.channel?.phase === 'lost';
    // A refused program shows its error in its own screen.
    if (told && !(refused && error.channel !== undefined)) banner('error', { tone: error.retryable ? 'warn' : 'bad', ...told, dismiss: true });
  }

  #changed() {
    const { session } = this;
    if (session?.link.stopped && session.id === null && session.phase !== 'over') {
      session.close('refused'); // the request failed, and its error was shown
      return;
    }
    if (session?.link.up) {
      this.program.settle();
      this.shell.settle();
    }
    this.#keeper.changed();
    this.emit('change');
  }

  #runAgain() {
    const again = this.#again;
    this.#again = null;
    again?.();
  }

  /** What a later page needs to resume. @returns {import('./store.js').PageRecord | null} */
  #record() {
    const record = this.session?.record();
    if (!record || !this.owner || !this.mirror) return null;
    const wanted = [this.program, this.shell].flatMap(({ channel }) => (channel?.phase === 'asked' ? [channel.kind] : []));
    const { id, name, files } = this.owner;
    return { ...record, sent: this.mirror.record(), wanted, project: id, name, files: [...files.keys()], at: Date.now() };
  }
}
