// A session: a container of one's own, with its programs and files.
import { Remote } from '../../static/core/remote.js';
import { Session as Core } from '../../static/core/session.js';
import { FIRST_ROOM, RUN_ROOM, divided } from './content.js';
import { Workspace, patiently } from './files.js';
import { RECONNECT_MS } from './patience.js';
import { Program } from './program.js';
import { Refused, UNREACHABLE, refusing } from './refused.js';

const HELLO_MS = 30_000; // for the first message of a server

/** @typedef {import('./content.js').Content} Content of a file */
/** @typedef {import('./content.js').Files} Files by their paths */
/**
 * `entry`: the file to start with. `terminal`: the size of a terminal for it; pipes without.
 * @typedef {{entry?: string, files?: Files, args?: string[], env?: Record<string, string>, limits?: Record<string, number>, terminal?: {cols: number, rows: number}}} RunOptions
 */
/** @typedef {import('./files.js').Entry} Entry of a workspace */

/** A private network that sessions share. `token`: who has it may join. @typedef {{id: string, token: string}} Group */
/**
 * A session to open. `group`: true for a new private network, that of another session (`Session.group`) to join it; `member`: the
 * host name there.
 * @typedef {{language: string, files?: Files, limits?: Record<string, number>, group?: Group | true, member?: string}} Wanted
 */

export class Session {
  #core;
  #world;
  #place;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #away;
  /** @type {Workspace | null} */ #files = null;
  /** @type {Remote | null} */ #remote = null;

  /** Use Client.open. @param {import('./world.js').World} world @param {Core} core @param {string} place */
  constructor(world, core, place) {
    this.#world = world;
    this.#place = place;
    this.#core = core;
    core.on('change', () => this.#look());
    core.on('over', () => {
      clearTimeout(this.#away);
      this.#remote?.close();
    });
  }

  /**
   * @param {import('./world.js').World} world @param {string} place the server's address, for messages
   * @param {Wanted} wanted
   * @returns {Promise<Session>} throws Refused
   */
  static async opened(world, place, { files = {}, ...wanted }) {
    const { sent, large } = divided(files, FIRST_ROOM);
    const session = await Session.#answered(world, place, sent, wanted);
    try {
      await session.#bring(large);
    } catch (error) {
      session.close();
      throw error;
    }
    return session;
  }

  /** @param {import('./world.js').World} world @param {string} place @param {import('../../static/core/messages.js').File[]} files @param {Omit<Wanted, 'files'>} wanted @returns {Promise<Session>} throws Refused */
  static async #answered(world, place, files, { language, limits, group, member }) {
    const network = group && {
      network: /** @type {const} */ ('group'), ...(group === true ? {} : { group: group.id, group_token: group.token }), ...(member === undefined ? {} : { member }),
    };
    const core = new Core(world);
    const session = new Session(world, core, place);
    /** @type {ReturnType<typeof setTimeout> | undefined} */ let due;
    return new Promise((resolve, reject) => {
      const silent = () => new Refused(`no server answers at ${place}`, UNREACHABLE, true);
      const refuse = (/** @type {Refused} */ why) => {
        reject(why);
        core.close('refused');
      };
      // Whatever takes WebSockets may be there, and send messages of its own.
      due = setTimeout(() => core.hello === null && refuse(silent()), HELLO_MS);
      // Whether to ask again is the client's decision.
      core.on('error', ({ message, code, retryable }) => core.phase !== 'open' && refuse(new Refused(message, code, retryable)));
      core.on('change', () => {
        if (core.phase === 'open') resolve(session);
        else if (core.phase === 'over') reject(core.reason === UNREACHABLE ? new Refused(`the server at ${place} cannot be reached any more`, UNREACHABLE) : new Refused(`the session was ended: ${core.reason}`, core.reason ?? 'no_session'));
        else if (!core.link.up && core.link.code !== null && core.hello === null) refuse(silent());
        else if (core.link.stopped) refuse(new Refused(`${place} closes the connection (${core.link.code})`, 'internal'));
      });
      refusing(() => core.begin({ language, files: /** @type {import('../../static/core/types.js').TextFile[]} */ (files), limits, network }));
    }).finally(() => clearTimeout(due));
  }

  /** Its id. */
  get id() {
    return this.#core.id;
  }

  /** Its private network, for `Client.open` of others; null without one. @returns {Group | null} */
  get group() {
    const { group, group_token: token } = this.#core.opened ?? {};
    return group && token ? { id: group, token } : null;
  }

  /** The host name by which the others of its group reach it; null without one. @returns {string | null} */
  get member() {
    return this.#core.opened?.member ?? null;
  }

  /** Its files. */
  get files() {
    const patient = patiently({ place: this.#place, reached: true });
    this.#remote ??= new Remote(this.#world, this.#core, (attempt) => patient(attempt).catch((error) => { throw this.#core.phase === 'over' ? this.#why() : error; }));
    this.#files ??= new Workspace(this.#remote);
    return this.#files;
  }

  /** Starts a program. Throws Refused if the session is over or the request cannot be sent. @returns {Program} */
  run(/** @type {RunOptions} */ { entry, files = {}, args, env, limits, terminal }) {
    const size = terminal ? { mode: /** @type {const} */ ('tty'), cols: terminal.cols, rows: terminal.rows } : { mode: /** @type {const} */ ('pipe') };
    const { sent, large } = divided(files, RUN_ROOM);
    const before = Object.keys(large).length ? () => this.#bring(large) : null;
    return this.#begun(() => this.#core.run({ ...size, entry, files: sent, args, env, limits }, before));
  }

  /** Uploads files for which a message has no room. */
  async #bring(/** @type {import('./content.js').Files} */ files) {
    for (const [path, content] of Object.entries(files)) await this.files.write(path, content);
  }

  /** Starts a shell, or the language's own prompt (`repl`). Throws as `run`. @returns {Program} */
  shell({ cols = 80, rows = 24, repl = false } = {}) {
    return this.#begun(() => this.#core.shell({ cols, rows, repl }));
  }

  /** @param {() => import('../../static/core/channel.js').Channel} begin */
  #begun(begin) {
    this.#check();
    return new Program(refusing(begin), () => this.#why());
  }

  /** Why it is over. */
  #why() {
    const { reason } = this.#core;
    if (reason === UNREACHABLE) return new Refused(`the server at ${this.#place} cannot be reached any more`, UNREACHABLE, true);
    return new Refused(reason === 'client' ? 'the session is over' : `the session was ended: ${reason}`, 'no_session');
  }

  /** Throws Refused if it is over. */
  #check() {
    if (this.#core.phase === 'over') throw this.#why();
  }

  /** Restarts its idle time. Throws Refused if the session is over. */
  extend() {
    this.#check();
    this.#core.extend();
  }

  /** Ends it, with its programs and files. */
  close() {
    this.#core.close();
  }

  #look() {
    const { link, phase, place } = this.#core;
    // Before it is open, a place in the queue shows that the server is there.
    if (link.up || phase === 'over' || link.code === null || (place && place.at > (link.at ?? 0))) {
      clearTimeout(this.#away);
      this.#away = undefined;
    } else if (link.stopped && phase === 'open') this.#core.close('refused');
    else this.#away ??= setTimeout(() => this.#core.close(UNREACHABLE), RECONNECT_MS);
  }
}
