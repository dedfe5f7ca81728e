// A session from a page's point of view: opened or attached over changing connections, with its channels.
//
// `record()` has what must survive the page; a later page passes it to `resume()`.
import { randomId } from './bytes.js';
import { Channels } from './channels.js';
import { CodecError, decodeOutput, decodeServer, encodeClient, encodeInput, textBytes } from './codec.js';
import { Connection } from './connection.js';
import { Emitter } from './events.js';
import { codeOf, messageOf, retryable } from './faults.js';

// Errors that refuse a request, so that its channel will not start. With the channel's number any but those of its data does.
// Of a message that could not be read no number is known.
const REFUSALS = new Set([
  'bad_json', 'unknown_type', 'unexpected_message', 'frame_too_large', 'bad_message', 'unknown_language', 'bad_path', 'file_too_large', 'too_many_files', 'bad_limit', 'channel_limit',
  'channels_busy', 'files_failed', 'unsupported', 'not_control', 'start_failed', 'no_channel',
]);

/** @typedef {import('./messages.js').ServerMessage} ServerMessage */
/** @typedef {import('./channel.js').Channel} Channel */
/** @typedef {import('./channel.js').Request} Request */
/** The private network of a session. @typedef {{network: 'group', group?: string, group_token?: string, member?: string}} Network */
/**
 * @typedef {{change: undefined, channel: Channel, workspace: number, error: import('./messages.js').ErrorMessage,
 *   notice: import('./messages.js').Notice, people: import('./messages.js').Person[], over: {reason: string}, fault: Error}} Events
 * @typedef {'idle' | 'connecting' | 'queued' | 'open' | 'over'} Phase
 * @typedef {{up: boolean, retryInMs: number | null, code: number | null, stopped: boolean, silentSince?: number | null, at?: number}} Link
 */

const ANSWERED = new Set(['run', 'shell', 'signal', 'eof', 'kill', 'take', 'extend']); // messages whose result a user waits for
const MAX_ANEW = 3; // openings in a row that failed

/**
 * Phases: `idle`, `connecting` (no session yet), `queued`, `open`, `over`. While `open`, `up` tells whether a
 * connection is attached right now, and `silentSince` since when it does not answer.
 *
 * Events: `change` (phase, link, role, place in the queue or expiry), `channel` (a Channel that this page did not
 * start), `workspace` (a revision: the files have changed), `error` (the server's message), `notice`, `over` {reason}, `fault` (an Error: an invalid message of the server).
 * @extends {Emitter<Events>}
 */
export class Session extends Emitter {
  #world;
  #connection;
  /** @type {Set<number>} */ #asked = new Set(); // channels whose request was sent over this connection
  /** @type {import('./types.js').TextFile[]} */ #files = [];
  /** @type {import('./types.js').TextFile[]} */ #filesToCome = []; // of `open`, too large to be sent with it
  /** @type {Record<string, number> | undefined} */ #limits;
  /** @type {string | undefined} */ #room; // that it is opened in
  /** @type {Network | undefined} */ #network;
  #channels;
  #anew = 0;

  /** @param {import('./types.js').World} world @param {{client?: string}} options */
  constructor(world, { client } = {}) {
    super();
    this.#world = world;
    this.client = client ?? randomId(world.fill);
    /** @type {Phase} */ this.phase = 'idle';
    /** @type {Link} */ this.link = { up: false, retryInMs: null, code: null, stopped: false };
    /** @type {'control' | 'watch'} */ this.role = 'control';
    /** @type {import('./messages.js').Hello | null} */ this.hello = null;
    /** @type {string | null} */ this.id = null;
    /** @type {string | null} */ this.token = null;
    /** @type {string | null} */ this.nonce = null;
    /** @type {string | null} */ this.language = null;
    /** @type {import('./messages.js').Opened | null} */ this.opened = null;
    /** @type {(import('./messages.js').Queued & {at: number}) | null} */ this.place = null; // the latest `queued`
    /** @type {(import('./messages.js').Expiry & {at: number}) | null} */ this.expires = null; // {idle_ms, total_ms, at}
    /** @type {{left: import('./messages.js').QuotaLeft[], at: number}} */ this.quotas = { left: [], at: 0 };
    /** @type {import('./messages.js').ErrorMessage | null} */ this.error = null;
    /** @type {string | null} */ this.reason = null; // why it has ended
    /** @type {boolean | null} */ this.hand = null; // whether it is raised; null in a session without a room
    this.#connection = new Connection(world, () => world.url(this.id), {
      // Another connection: nothing was sent over it yet.
      onOpen: () => this.#asked.clear(),
      onText: (text) => this.#onText(text),
      onBinary: (data) => this.#onBinary(data),
      onSilent: (since) => this.#onSilent(since),
      onDown: (down) => this.#onDown(down),
    });
    this.#channels = new Channels(this.#port(), (channel) => this.emit('channel', channel));
  }

  /** @returns {import('./types.js').Port} */
  #port() {
    const session = this;
    return {
      timers: this.#world.timers,
      get up() { return session.link.up; },
      get control() { return session.role === 'control'; },
      send: (message) => this.#send(message),
      sendInput: (channel, offset, payload) => {
        this.#connection.send(encodeInput(channel, offset, payload));
        this.#connection.expectAnswer();
      },
    };
  }

  /** All channels, by number. */
  get channels() {
    return this.#channels.all;
  }

  // --- requests ---------------------------------------------------------------------------------------------

  /** Requests a new session; a `run` or `shell` may follow at once. Raises CodecError if the request cannot be sent, before anything has happened. */
  begin(/** @type {{language: string, files?: import('./types.js').TextFile[], limits?: Record<string, number>, nonce?: string, room?: string, network?: Network}} */ { language, files = [], limits = undefined, nonce = randomId(this.#world.fill), room = undefined, network = undefined }) {
    encodeClient({ type: 'open', language, client: this.client, nonce, files, limits, room, ...network }); // for its error only
    this.language = language;
    this.#room = room;
    this.#network = network;
    this.nonce = nonce;
    this.#files = files;
    this.#limits = limits;
    this.#setPhase('connecting');
    this.#connection.start();
  }

  /** Resumes the session of an earlier page; or, without a token, attaches by the page's credential (a teacher). */
  resume(/** @type {import('./types.js').SessionRecord} */ record) {
    this.id = record.session ?? null;
    this.token = record.token ?? null;
    this.language = record.language;
    this.#channels.recall(record);
    this.#setPhase('connecting');
    this.#connection.start();
  }

  /** `before`: what has to be done before the request is sent; if that fails, the channel is lost with its error. */
  run(/** @type {import('./channels.js').RunRequest} */ request, /** @type {(() => Promise<unknown>) | null} */ before = null) {
    return this.#begun(this.#channels.begin({ ...request, type: 'run' }), before);
  }

  shell(/** @type {import('./channels.js').ShellRequest} */ request) {
    return this.#begun(this.#channels.begin({ ...request, type: 'shell' }));
  }

  #begun(/** @type {Channel} */ channel, /** @type {(() => Promise<unknown>) | null} */ before = null) {
    if (this.phase === 'over') channel.lose();
    else if (before) this.#hold(channel, before);
    // Otherwise it is sent when the session is open.
    else if (this.link.up) this.#ask(channel);
    return channel;
  }

  async #hold(/** @type {Channel} */ channel, /** @type {() => Promise<unknown>} */ before) {
    channel.held = true;
    try {
      await before();
      channel.held = false;
      if (this.link.up && channel.live) this.#start(channel);
    } catch (error) {
      channel.lose({ type: 'error', code: codeOf(error) ?? 'internal', message: messageOf(error), retryable: retryable(error) });
    }
  }

  #ask(/** @type {Channel} */ channel) {
    if (!channel.request || channel.held || !channel.live || this.#asked.has(channel.id)) return;
    this.#asked.add(channel.id);
    this.#send(this.#withFiles(channel.request));
  }

  /** Asks for a channel that could not be asked for when it was begun, and sends what was written since. */
  #start(/** @type {Channel} */ channel) {
    this.#ask(channel);
    channel.follow();
  }

  /** `word`: why a teacher takes the control from the session's owner, who is told. */
  take(/** @type {string | undefined} */ word = undefined) {
    this.#send({ type: 'take', ...(word === undefined ? {} : { word }) });
  }

  /** Hands the control back to the session's owner. */
  give() {
    this.#send({ type: 'give' });
  }

  extend() {
    this.#send({ type: 'extend' });
  }

  /** The owner's answer to a guest that asks for the control. */
  answer(/** @type {string} */ who, /** @type {boolean} */ allow) {
    this.#send({ type: 'answer', who, allow });
  }

  /** Raises the hand to the teachers of the session's room, or lowers it. */
  raiseHand(/** @type {boolean} */ up) {
    this.#send({ type: 'raise_hand', up });
  }

  /** Ends the session, or leaves the queue. */
  close(reason = 'client') {
    if (this.phase === 'over') return;
    this.#connection.send(encodeClient({ type: 'close' }));
    this.#connection.stop();
    this.#finish(reason);
  }

  /** Closes the connection; the session continues. */
  detach() {
    this.#connection.stop();
    this.link = { up: false, retryInMs: null, code: 1000, stopped: true };
  }

  /** After a stop (another page has taken over, no slots): connects again at the user's request. */
  reconnect() {
    this.#connection.settled();
    this.link = { ...this.link, stopped: false };
    this.#connection.start();
    this.emit('change');
  }

  hurry() {
    this.#connection.hurry();
  }

  /** Stops waiting for a connection that does not answer. */
  renew() {
    this.#connection.reset();
  }

  get rttMs() {
    return this.#connection.rttMs;
  }

  #send(/** @type {import('./messages.js').ClientMessage} */ message) {
    this.#connection.send(encodeClient(message));
    if (ANSWERED.has(message.type)) this.#connection.expectAnswer();
  }

  // --- messages of the server --------------------------------------------------------------------------------------------

  #onText(/** @type {string} */ text) {
    let message;
    try {
      message = decodeServer(text);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      // A newer server may send messages that this page does not know.
      if (error.code !== 'unknown_type') this.emit('fault', error);
      return;
    }
    /** @type {(told: ServerMessage) => void} */ (this.#handlers[message.type])(message);
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
    const channel = this.#channels.of(frame.channel);
    if (!channel.take(frame)) {
      this.emit('fault', new CodecError('bad_frame', `output of channel ${frame.channel} skipped bytes`));
      this.#connection.reset(); // attaching again tells the server our position
    }
  }

  #setQuotas(/** @type {readonly import('./messages.js').QuotaLeft[]} */ left) {
    this.quotas = { left: [...left], at: this.#world.now() };
  }

  /** @type {{[Type in ServerMessage['type']]: (message: Extract<ServerMessage, {type: Type}>) => void}} */
  #handlers = {
    hello: (message) => {
      this.hello = message;
      this.#setQuotas(message.quotas ?? []);
      if (this.id === null) this.#sendOpen();
      else this.#sendAttach();
    },
    quotas: (message) => {
      this.#setQuotas(message.quotas);
      this.emit('change');
    },
    queued: (message) => {
      this.place = { ...message, at: this.#world.now() };
      this.#setPhase('queued');
    },
    opened: (message) => {
      this.id = message.session;
      this.token = message.token;
      this.opened = message;
      this.role = 'control';
      this.#setExpires(message.expires);
      this.#goUp();
      this.#files = []; // they were sent, or are sent with the first run
      for (const channel of this.#channels) this.#start(channel);
    },
    attached: (message) => this.#onAttached(message),
    role: (message) => {
      this.role = message.role;
      for (const channel of this.#channels) {
        const offset = message.input_offsets[channel.id];
        // Another attachment may have typed meanwhile: what waited here does not fit any more.
        channel.input.restart(offset ?? channel.input.end);
      }
      this.emit('change');
    },
    hand: ({ up }) => {
      this.hand = up;
      this.emit('change');
    },
    people: ({ people }) => this.emit('people', people),
    state: ({ channel, phase }) => this.#channels.of(channel).enter(phase),
    stopped: ({ channel, by }) => this.#channels.get(channel)?.standStill(by),
    in_ack: ({ channel, offset }) => this.#channels.of(channel).acked(offset),
    gap: (message) => this.#channels.of(message.channel).skip(message),
    resized: ({ channel, cols, rows }) => this.#channels.of(channel).setSize(cols, rows),
    // Repeated to clients that attach, also for programs that were dropped: those create no channel here.
    diagnostics: ({ channel, items }) => this.#channels.get(channel)?.emit('diagnostics', items),
    artifact: (message) => this.#channels.get(message.channel)?.emit('artifact', message),
    workspace: ({ revision }) => this.emit('workspace', revision),
    exit: (message) => this.#channels.of(message.channel).finish(message),
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
    /** @type {import('./messages.js').Open} */ const open = {
      type: 'open', language: this.language ?? '', client: this.client, nonce: this.nonce ?? undefined,
      ...(this.#files.length ? { files: this.#files } : {}), ...(this.#limits ? { limits: this.#limits } : {}),
      ...(this.#room === undefined ? {} : { room: this.#room }), ...(this.#network ?? {}),
    };
    const room = (this.hello?.limits.first_text_bytes ?? Infinity) - textBytes(open);
    if (room < 0) delete open.files; // they are sent with the first run, after `opened`
    this.#filesToCome = room < 0 ? this.#files : [];
    this.#send(open);
    const first = [...this.#channels].find((channel) => channel.live && !channel.held);
    if (first?.request && textBytes(first.request) <= room) this.#ask(first); // one request may be sent with `open`
  }

  /** Adds the files of `open` for which there was no room; files of the request itself win. */
  #withFiles(/** @type {Request} */ request) {
    if (request.type !== 'run' || !this.#filesToCome.length) return request;
    const own = new Set((request.files ?? []).map((file) => file.path));
    const files = [...this.#filesToCome.filter((file) => !own.has(file.path)), ...(request.files ?? [])];
    this.#filesToCome = [];
    return { ...request, files };
  }

  #sendAttach() {
    this.#send({ type: 'attach', session: this.id ?? '', token: this.token, client: this.client, cursors: this.#channels.cursors() });
  }

  #onAttached(/** @type {import('./messages.js').Attached} */ message) {
    this.role = message.role;
    this.#setExpires(message.expires);
    this.#goUp();
    for (const channel of this.#channels.attached(message.channels)) this.#start(channel);
    this.emit('change');
  }

  #onError(/** @type {import('./messages.js').ErrorMessage} */ message) {
    this.error = message;
    this.#connection.failed(message);
    const { code, channel: id, expected } = message;
    if (code === 'no_session' && this.id === null && this.#anew < MAX_ANEW) return; // it is opened again after the close
    const channel = this.#channels.get(id);
    if ((code === 'input_gap' || code === 'input_overflow') && channel && expected !== undefined) {
      channel.rewind(expected, { full: code === 'input_overflow' });
      return;
    }
    // Another attachment has used the number, so the request is sent with another one.
    if (code === 'channel_used' && channel?.phase === 'asked') {
      this.#channels.renumber(channel);
      this.#start(channel);
      return;
    }
    if (REFUSALS.has(code) || (channel && code !== 'ack_ahead')) {
      // Without a channel the error may concern any pending request.
      const asked = channel ? [channel] : [...this.#channels];
      for (const each of asked) if (each.phase === 'asked') each.lose(message);
    }
    this.emit('error', message);
    if (this.id === null && REFUSALS.has(code)) this.close('refused'); // the connection still exists, but without a session
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
    // 4404 without a session: the opening that was looked for is over.
    else if (code === 4404 && this.id === null && this.#anew < MAX_ANEW) this.#openAnew();
    else if (code === 4404) this.#finish('no_session');
    else this.emit('change');
  }

  /** The page was away for longer than the server keeps an opening. Nothing had begun, so it is requested again. */
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

  #setPhase(/** @type {Phase} */ phase) {
    this.phase = phase;
    this.emit('change');
  }

  #finish(/** @type {string} */ reason) {
    if (this.phase === 'over') return;
    this.phase = 'over';
    this.reason = reason;
    this.#connection.stop();
    this.link = { up: false, retryInMs: null, code: 1000, stopped: true };
    // After the state is set: their listeners look at it.
    this.#channels.lose();
    this.emit('over', { reason });
    this.emit('change');
  }

  /** What a later page needs to resume; null if there is nothing to resume. @returns {import('./types.js').SessionRecord | null} */
  record() {
    if (this.phase === 'over' || this.phase === 'idle') return null;
    const common = { client: this.client, language: this.language ?? '' };
    // Without an id the nonce finds the opening.
    if (this.id === null || this.token === null) return { ...common, nonce: this.nonce ?? undefined };
    return { ...common, session: this.id, token: this.token, next: this.#channels.next, channels: this.#channels.record() };
  }
}
