// The page's dealings with a session: begins one when something is to run, shows its channels on the two screens,
// comes back to it after a reload, and lets go of it.
import { randomId } from '../core/bytes.js';
import { CodecError } from '../core/codec.js';
import { parseEnv } from '../core/env.js';
import { Emitter } from '../core/events.js';
import { problem } from '../core/problem.js';
import { Session } from '../core/session.js';
import { banner, clearBanner } from './banners.js';
import { world } from './browser.js';
import { drain } from './screen.js';
import { claim } from './store.js';

const KEEP_EVERY_MS = 1000;
const CLAIM_MS = 2000;
const NONCE_LIVES_MS = 55_000;

/** Events: `change` (anything of the session or its channels). */
export class Desk extends Emitter {
  #store;
  #client = randomId();
  #again = null;
  #sent = new Set(); // paths that this session's workspace has from us
  #keeping = null;
  #claimed = null;

  constructor({ store, program, shell }) {
    super();
    this.#store = store;
    this.program = program;
    this.shell = shell;
    this.session = null;
    this.project = null;
    program.on('ended', () => this.#runAgain());
    addEventListener('pagehide', () => this.#keep());
    addEventListener('online', () => this.session?.hurry());
    addEventListener('pageshow', (event) => event.persisted && this.session?.hurry());
    document.addEventListener('visibilitychange', () => (document.hidden ? this.#keep() : this.session?.hurry()));
  }

  /** Goes on with the session that this tab had before a reload, or, in a new tab, that no other tab has. */
  async resume() {
    const { own, last } = this.#store.session();
    const record = own ?? last;
    if (!record) return;
    if (own && !record.session) {
      if (Date.now() - record.at < NONCE_LIVES_MS) this.#beginAgain(record);
      return;
    }
    const mine = await claim(record.session, own ? { waitMs: CLAIM_MS, otherwise: true } : { otherwise: false });
    if (!mine || this.session) {
      if (own) this.#store.saveSession(null); // a copy of a tab: the session is the other's
      return;
    }
    this.#claimed = record.session;
    this.#client = record.client;
    this.#adopt();
    this.#sent = new Set(record.sent);
    this.session.resume(record);
  }

  /** The page was reloaded before its session was there: its place in the queue is kept for a moment. */
  #beginAgain(record) {
    if (record.language !== this.project.language.name) return;
    this.#client = record.client;
    this.#adopt();
    const wantsRun = record.wanted.includes('run');
    this.session.begin({ language: record.language, nonce: record.nonce, files: wantsRun ? [] : this.project.list() });
    if (wantsRun) this.run();
    if (record.wanted.includes('shell')) this.openShell();
  }

  // --- what the user does -----------------------------------------------------------------------------------

  run() {
    if (this.program.running) {
      this.#again = () => this.run();
      this.stop();
      return;
    }
    const { entry, args, mode, stdin } = this.project;
    const files = this.project.list();
    const { env } = parseEnv(this.project.env);
    // The workspace cannot forget a file while the session lives; a program must not see what was deleted here.
    const mine = this.session?.phase === 'open' && this.session.language === this.project.language.name;
    const stale = mine && [...this.#sent].some((path) => !this.project.files.has(path));
    if (stale) this.end();
    this.#start(this.program, (session) => session.run({ mode, files, entry, args, env, ...(stdin === null ? {} : { stdin }), ...(mode === 'tty' ? this.program.view.size : {}) }));
    if (stale) this.program.say('A file was renamed or deleted, so this runs in a new session.');
    for (const { path } of files) this.#sent.add(path);
  }

  stop() {
    const { session } = this;
    if (session && session.phase !== 'open') this.leave();
    else this.program.channel?.kill();
  }

  openShell() {
    if (this.shell.running) return;
    this.#start(this.shell, (session) => session.shell(this.shell.view.size), this.project.list());
  }

  /** @param files what a new session is to have before anything has run in it */
  #start(screen, ask, files = []) {
    clearBanner('error');
    const session = this.#ready(files);
    try {
      screen.show(ask(session), session);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      banner('error', { tone: 'bad', ...problem({ code: error.code, message: error.message }), dismiss: true });
    }
    this.#changed();
  }

  /** Leaves the queue. */
  leave() {
    this.#again = null;
    this.session?.close();
  }

  end() {
    this.session?.close();
  }

  // --- the session --------------------------------------------------------------------------------------------

  #ready(files) {
    const { session } = this;
    const language = this.project.language.name;
    if (session && session.phase !== 'over' && session.language === language) {
      if (session.link.stopped) session.reconnect();
      return session;
    }
    session?.close();
    this.#adopt();
    this.#sent = new Set(this.project.paths);
    this.session.begin({ language, files });
    return this.session;
  }

  #adopt() {
    const session = new Session(world, { client: this.#client });
    this.session = session;
    clearBanner('over');
    const current = (act) => (detail) => session === this.session && act(detail);
    session.on('change', current(() => this.#changed()));
    session.on('channel', current((channel) => this.#found(channel)));
    session.on('error', current((error) => this.#failed(error)));
    session.on('notice', current((notice) => this.emit('notice', notice)));
    session.on('over', current(({ reason }) => this.emit('over', reason)));
    session.on('fault', (fault) => console.warn(fault));
  }

  /** A channel that an earlier page or another attachment began. */
  #found(channel) {
    const screen = channel.kind === 'shell' ? this.shell : this.program;
    const newer = screen.channel && screen.session === this.session && screen.channel.id > channel.id;
    if (channel.shown && !newer) screen.show(channel, this.session);
    else drain(channel);
  }

  #failed(error) {
    const told = problem(error);
    const refused = this.program.channel?.phase === 'lost' || this.shell.channel?.phase === 'lost';
    if (told && !(refused && error.channel !== undefined)) banner('error', { tone: error.retryable ? 'warn' : 'bad', ...told, dismiss: true });
  }

  #changed() {
    const { session } = this;
    if (session?.link.stopped && session.id === null && session.phase !== 'over') {
      session.close('refused'); // what was asked for did not come about; the error has been told
      return;
    }
    if (session?.id && session.id !== this.#claimed) {
      this.#claimed = session.id;
      claim(session.id, { otherwise: true });
    }
    if (session?.link.up) {
      this.program.settle();
      this.shell.settle();
    }
    this.#keeping ??= setTimeout(() => this.#keep(), KEEP_EVERY_MS);
    this.emit('change');
  }

  #runAgain() {
    const again = this.#again;
    this.#again = null;
    again?.();
  }

  #keep() {
    clearTimeout(this.#keeping);
    this.#keeping = null;
    this.project?.save();
    const record = this.session?.record() ?? null;
    if (record) {
      const wanted = [this.program, this.shell].filter(({ channel }) => channel?.phase === 'asked').map(({ channel }) => channel.kind);
      Object.assign(record, { sent: [...this.#sent], wanted, at: Date.now() });
    }
    if (this.session) this.#store.saveSession(record);
    if (this.session?.phase === 'over') this.#store.dropSession(this.session.id);
    if (record?.session && this.session.link.up) this.#keeping = setTimeout(() => this.#keep(), KEEP_EVERY_MS);
  }
}
