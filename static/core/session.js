// A session seen from a page: opened or attached over connections that come and go, with its channels.
//
// What has to survive the page is in `record()`; a later page hands it to `resume()`.
import { fromBase64, randomId, toBase64 } from './bytes.js';
import { Channel } from './channel.js';
import { CodecError, decodeOutput, decodeServer, encodeClient, encodeInput, textBytes } from './codec.js';
import { Connection } from './connection.js';
import { Emitter } from './events.js';

const MAX_UNACKED_IN_RECORD = 512 * 1024;
const REFUSALS = new Set([
  'bad_message', 'unknown_language', 'bad_path', 'file_too_large', 'too_many_files', 'bad_limit', 'channel_limit',
  'channels_busy', 'files_failed', 'unsupported', 'not_control', 'start_failed', 'no_channel',
]);

/** @typedef {import('./messages.js').ServerMessage} ServerMessage */

const ANSWERED = new Set(['run', 'shell', 'signal', 'eof', 'kill', 'take', 'extend']); // what a user waits for
const MAX_ANEW = 3; // openings that came to nothing, one after the other

/**
 * Phases: `idle`, `connecting` (no session yet), `queued`, `open`, `over`. While `open`, `up` tells whether a
 * connection is attached right now, and `silentSince` since when it does not answer.
 *
 * Events: `change` (phase, link, role, place in the queue or expiry), `channel` (a Channel that this page did not
 * start), `workspace` (a revision: the files have changed), `error` (the server's message), `notice`, `over` {reason}, `fault` (an Error: the server spoke nonsense).
 *
 * `world`: {connect(url, protocol), url(session or null), timers, random(), now(), fill?}.
 */
export class Session extends Emitter {
  #world;
  #connection;
  /** @type {Set<number>} */ #asked = new Set(); // channels whose request went out over this connection
  #port;
  /** @type {import('./types.js').File[]} */ #files = [];
  /** @type {import('./types.js').File[]} */ #filesToCome = []; // of `open`, too large to go with it
  /** @type {object | undefined} */ #limits;
  #anew = 0;
  /** @type {Record<string, any>} */ #found = {}; // what the record knows of channels that `attached` will name

  /** @param {any} world @param {{client?: string}} options */
  constructor(world, { client } = {}) {
    super();
    this.#world = world;
    this.client = client ?? randomId(world.fill);
    this.phase = 'idle';
    /** @type {{up: boolean, retryInMs: number | null, code: number | null, stopped: boolean, silentSince?: number | null, at?: number}} */
    this.link = { up: false, retryInMs: null, code: null, stopped: false };
    this.role = 'control';
    /** @type {import('./messages.js').Hello | null} */ this.hello = null;
    /** @type {string | null} */ this.id = null;
    /** @type {string | null} */ this.token = null;
    /** @type {string | null} */ this.nonce = null;
    /** @type {string | null} */ this.language = null;
    /** @type {import('./messages.js').Opened | null} */ this.opened = null;
    /** @type {(import('./messages.js').Queued & {at: number}) | null} */ this.place = null; // the latest `queued`
    /** @type {(import('./messages.js').Expiry & {at: number}) | null} */ this.expires = null; // {idle_ms, total_ms, at}
    /** @type {import('./messages.js').ErrorMessage | null} */ this.error = null;
    /** @type {string | null} */ this.reason = null; // why it is over
    /** @type {Map<number, Channel>} */ this.channels = new Map();
    this.nextChannel = 1;
    this.#connection = new Connection(world, () => world.url(this.id), {
      onOpen: () => this.#asked.clear(),
      onText: (text) => this.#onText(text),
      onBinary: (data) => this.#onBinary(data),
      onSilent: (since) => this.#onSilent(since),
      onDown: (down) => this.#onDown(down),
    });
    const session = this;
    this.#port = {
      timers: world.timers,
      get up() { return session.link.up; },
      get control() { return session.role === 'control'; },
      send: (/** @type {any} */ message) => this.#send(message),
      sendInput: (/** @type {number} */ channel, /** @type {number} */ offset, /** @type {Uint8Array} */ payload) => {
        this.#connection.send(encodeInput(channel, offset, payload));
        this.#connection.expectAnswer();
      },
    };
  }

  // --- asking ---------------------------------------------------------------------------------------------

  /** Asks for a new session; a `run` or `shell` may follow at once. */
  begin(/** @type {{language: string, files?: import('./types.js').File[], limits?: object, nonce?: string}} */ { language, files = [], limits = undefined, nonce = randomId(this.#world.fill) }) {
    this.language = language;
    this.nonce = nonce;
    this.#files = files;
    this.#limits = limits;
    this.#setPhase('connecting');
    this.#connection.start();
  }

  /** Goes on with the session of an earlier page. */
  resume(/** @type {any} */ record) {
    Object.assign(this, { id: record.session, token: record.token, language: record.language, nextChannel: record.next });
    this.#found = record.channels ?? {};
    this.#setPhase('connecting');
    this.#connection.start();
  }

  /** @param request `run` without type and channel: {mode, files, entry, args, cols, rows, …} */
  run(/** @type {any} */ request) {
    return this.#start('run', request.mode, request);
  }

  /** @param request `shell` without type and channel: {cols, rows, repl, entry} */
  shell(/** @type {any} */ request) {
    return this.#start('shell', 'tty', request);
  }

  #start(/** @type {string} */ kind, /** @type {string} */ mode, /** @type {any} */ request) {
    const id = this.#freeChannel();
    const message = { type: kind, channel: id, ...request };
    encodeClient(message); // raises where it is too large, before anything has happened
    const channel = new Channel(this.#port, { id, kind, mode, request: message });
    this.channels.set(id, channel);
    if (this.link.up) this.#ask(channel);
    return channel;
  }

  #freeChannel() {
    while (this.channels.has(this.nextChannel & 0xffff)) this.nextChannel += 1;
    this.nextChannel += 1;
    return (this.nextChannel - 1) & 0xffff;
  }

  #ask(/** @type {Channel} */ channel) {
    if (this.#asked.has(channel.id)) return;
    this.#asked.add(channel.id);
    this.#send(this.#withFiles(channel.request));
  }

  take() {
    this.#send({ type: 'take' });
  }

  extend() {
    this.#send({ type: 'extend' });
  }

  /** Ends the session, or leaves the queue. */
  close(reason = 'client') {
    if (this.phase === 'over') return;
    this.#connection.send(encodeClient({ type: 'close' }));
    this.#connection.stop();
    this.#finish(reason);
  }

  /** Lets go of the connection; the session lives on. */
  detach() {
    this.#connection.stop();
    this.link = { up: false, retryInMs: null, code: 1000, stopped: true };
  }

  /** After a stop (another page took over, no room): tries again because the user says so. */
  reconnect() {
    this.#connection.settled();
    this.link = { ...this.link, stopped: false };
    this.#connection.start();
    this.emit('change');
  }

  hurry() {
    this.#connection.hurry();
  }

  /** Does not wait any longer for a connection that does not answer. */
  renew() {
    this.#connection.reset();
  }

  get rttMs() {
    return this.#connection.rttMs;
  }

  #send(/** @type {any} */ message) {
    this.#connection.send(encodeClient(message));
    if (ANSWERED.has(message.type)) this.#connection.expectAnswer();
  }

  // --- hearing --------------------------------------------------------------------------------------------

  #onText(/** @type {string} */ text) {
    let message;
    try {
      message = decodeServer(text);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      if (error.code !== 'unknown_type') this.emit('fault', error);
      return;
    }
    /** @type {any} */ (this.#handlers[message.type])?.(message);
  }

  #onBinary(/** @type {ArrayBuffer} */ data) {
    let frame;
    try {
      frame = decodeOutput(data);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.emit('fault', error);
      this.#connection.reset();
      return;
    }
    const channel = this.#channel(frame.channel);
    if (!channel.take(frame)) {
      this.emit('fault', new CodecError('bad_frame', `output of channel ${frame.channel} skipped bytes`));
      this.#connection.reset(); // attaching again says where we stand
    }
  }

  /** @type {{[Type in ServerMessage['type']]?: (message: Extract<ServerMessage, {type: Type}>) => void}} */
  #handlers = {
    hello: (message) => {
      this.hello = message;
      if (this.id === null) this.#sendOpen();
      else this.#sendAttach();
    },
    queued: (message) => {
      this.place = { ...message, at: this.#world.now() };
      this.#setPhase('queued');
    },
    opened: (message) => {
      Object.assign(this, { id: message.session, token: message.token, opened: message, role: 'control' });
      this.#setExpires(message.expires);
      this.#goUp();
      this.#files = []; // they are there, or go with the first run
      for (const channel of this.channels.values()) {
        this.#ask(channel);
        channel.rewind(channel.input.acked);
      }
    },
    attached: (message) => this.#onAttached(message),
    role: (message) => {
      this.role = message.role;
      for (const channel of this.channels.values()) {
        const offset = message.input_offsets[channel.id];
        channel.input.restart(offset ?? channel.input.end);
      }
      this.emit('change');
    },
    state: ({ channel, phase }) => this.#channel(channel).enter(phase),
    stopped: ({ channel, by }) => this.channels.get(channel)?.standStill(by),
    in_ack: ({ channel, offset }) => this.#channel(channel).acked(offset),
    gap: (message) => this.#channel(message.channel).skip(message),
    resized: ({ channel, cols, rows }) => this.#channel(channel).setSize(cols, rows),
    // Told again to who attaches, also of programs that are forgotten: those begin no channel here.
    diagnostics: ({ channel, items }) => this.channels.get(channel)?.emit('diagnostics', items),
    artifact: (message) => this.channels.get(message.channel)?.emit('artifact', message),
    workspace: ({ revision }) => this.emit('workspace', revision),
    exit: (message) => this.#channel(message.channel).finish(message),
    expires: (message) => {
      this.#setExpires(message);
      this.emit('change');
    },
    notice: (message) => this.emit('notice', message),
    closed: ({ reason }) => this.#finish(reason),
    error: (message) => this.#onError(message),
    pong: ({ t }) => {
      this.#connection.pong(t);
      this.emit('change');
    },
  };

  #sendOpen() {
    /** @type {{type: string, files?: import('./types.js').File[], [field: string]: unknown}} */ const open = {
      type: 'open', language: this.language, client: this.client, nonce: this.nonce,
      ...(this.#files.length ? { files: this.#files } : {}), ...(this.#limits ? { limits: this.#limits } : {}),
    };
    const room = (this.hello?.limits.first_text_bytes ?? Infinity) - textBytes(open);
    if (room < 0) delete open.files; // they go with the first run, behind `opened`
    this.#filesToCome = room < 0 ? this.#files : [];
    this.#send(open);
    const first = [...this.channels.values()].find((channel) => channel.live);
    if (first && textBytes(first.request) <= room) this.#ask(first); // one request may travel with `open`
  }

  /** With the files of `open` for which there was no room before `opened`; those of the request win. */
  #withFiles(/** @type {any} */ request) {
    if (request.type !== 'run' || !this.#filesToCome.length) return request;
    const own = new Set((request.files ?? []).map((/** @type {import('./types.js').File} */ file) => file.path));
    const files = [...this.#filesToCome.filter((file) => !own.has(file.path)), ...(request.files ?? [])];
    this.#filesToCome = [];
    return { ...request, files };
  }

  #sendAttach() {
    /** @type {Record<string, number>} */ const cursors = {};
    for (const [id, known] of Object.entries(this.#found)) if (!known.shown) cursors[id] = known.consumed;
    for (const channel of this.channels.values()) cursors[channel.id] = channel.received;
    this.#send({ type: 'attach', session: this.id, token: this.token, client: this.client, cursors });
  }

  #onAttached(/** @type {any} */ message) {
    this.role = message.role;
    this.#setExpires(message.expires);
    this.#goUp();
    const named = new Set();
    for (const view of message.channels) {
      named.add(view.channel);
      const channel = this.channels.get(view.channel);
      if (channel) channel.reattach(view);
      else this.#adopt(view);
    }
    for (const channel of this.channels.values()) {
      if (named.has(channel.id) || !channel.live) continue;
      if (channel.phase === 'asked' && channel.request) this.#ask(channel);
      else channel.lose();
    }
    this.#found = {};
    this.emit('change');
  }

  #adopt(/** @type {import('./messages.js').ChannelView} */ view) {
    const known = this.#found[view.channel] ?? { kind: 'run', shown: true };
    const channel = new Channel(this.#port, {
      id: view.channel,
      kind: known.kind,
      mode: view.mode,
      received: known.shown ? 0 : known.consumed,
      quietUntil: known.consumed ?? view.to,
    });
    channel.shown = known.shown;
    this.channels.set(view.channel, channel);
    this.nextChannel = Math.max(this.nextChannel, view.channel + 1);
    this.emit('channel', channel);
    const unacked = known.unacked && { ...known.unacked, bytes: fromBase64(known.unacked.bytes) };
    channel.adopt(view, unacked);
  }

  /** The channel of this number; one that another attachment began is found here. */
  #channel(/** @type {number} */ id) {
    let channel = this.channels.get(id);
    if (!channel) {
      channel = new Channel(this.#port, { id, kind: 'run', mode: 'tty' });
      channel.shown = true;
      this.channels.set(id, channel);
      this.nextChannel = Math.max(this.nextChannel, id + 1);
      this.emit('channel', channel);
    }
    return channel;
  }

  #onError(/** @type {any} */ message) {
    this.error = message;
    this.#connection.failed(message);
    const { code, channel: id, expected } = message;
    if (code === 'no_session' && this.id === null && this.#anew < MAX_ANEW) return; // it is opened anew when the close comes
    const channel = id === undefined ? null : this.channels.get(id);
    if ((code === 'input_gap' || code === 'input_overflow') && channel && expected !== undefined) {
      channel.rewind(expected, { full: code === 'input_overflow' });
      return;
    }
    if (code === 'channel_used' && channel?.phase === 'asked') {
      this.#renumber(channel);
      return;
    }
    if (REFUSALS.has(code)) {
      const asked = channel ? [channel] : [...this.channels.values()];
      for (const each of asked) if (each.phase === 'asked') each.lose(message);
    }
    this.emit('error', message);
    if (this.id === null && REFUSALS.has(code)) this.close('refused'); // the connection lives on, but without a session
  }

  #renumber(/** @type {Channel} */ channel) {
    this.channels.delete(channel.id);
    channel.id = this.#freeChannel();
    channel.request = { ...channel.request, channel: channel.id };
    this.channels.set(channel.id, channel);
    this.#ask(channel);
  }

  // --- states ---------------------------------------------------------------------------------------------

  #goUp() {
    this.link = { up: true, retryInMs: null, code: null, stopped: false };
    this.error = null;
    this.place = null;
    this.#anew = 0;
    this.#connection.settled();
    this.#setPhase('open');
  }

  #onDown(/** @type {{code: number, retryInMs: number | null}} */ { code, retryInMs }) {
    this.link = { up: false, retryInMs, code, stopped: retryInMs === null, at: this.#world.now() };
    if (this.phase === 'over') return;
    if (code === 1000) this.#finish('client');
    else if (code === 4404 && this.id === null && this.#anew < MAX_ANEW) this.#openAnew();
    else if (code === 4404) this.#finish('no_session');
    else this.emit('change');
  }

  /** The page was away for longer than the server keeps what was being opened: nothing had begun, so it is asked for again. */
  #openAnew() {
    this.#anew += 1;
    this.nonce = randomId(this.#world.fill);
    this.place = null;
    this.error = null;
    this.link = { up: false, retryInMs: null, code: null, stopped: false };
    this.#connection.settled();
    this.#connection.start();
    this.#setPhase('connecting');
  }

  #onSilent(/** @type {number | null} */ since) {
    if (this.phase === 'over') return;
    this.link = { ...this.link, silentSince: since };
    this.emit('change');
  }

  #setExpires(/** @type {{idle_ms: number | null, total_ms: number}} */ { idle_ms, total_ms }) {
    this.expires = { idle_ms, total_ms, at: this.#world.now() };
  }

  #setPhase(/** @type {string} */ phase) {
    this.phase = phase;
    this.emit('change');
  }

  #finish(/** @type {string} */ reason) {
    if (this.phase === 'over') return;
    this.phase = 'over';
    this.reason = reason;
    this.#connection.stop();
    this.link = { up: false, retryInMs: null, code: 1000, stopped: true };
    for (const channel of this.channels.values()) {
      channel.lose();
      channel.dispose();
    }
    this.emit('over', { reason });
    this.emit('change');
  }

  /** What a later page needs to go on; null where there is nothing to go on with. */
  record() {
    if (this.phase === 'over' || this.phase === 'idle') return null;
    const common = { client: this.client, language: this.language };
    if (this.id === null) return { ...common, nonce: this.nonce };
    const channels = Object.entries(this.#found);
    for (const channel of this.channels.values()) {
      const { offset, bytes } = channel.input.unacked();
      /** @type {Record<string, any>} */ const entry = { kind: channel.kind, shown: channel.shown ?? true, consumed: channel.consumed };
      if (channel.running && (bytes.length || channel.input.eof) && bytes.length <= MAX_UNACKED_IN_RECORD) {
        entry.unacked = { offset, bytes: toBase64(bytes), eof: channel.input.eof };
      }
      channels.push([String(channel.id), entry]);
    }
    return { ...common, session: this.id, token: this.token, next: this.nextChannel, channels: Object.fromEntries(channels) };
  }
}
