// A terminal that shows one channel: output is drawn, and acknowledged once it is drawn; input is sent; the end is
// shown below. The terminal and the channel do not know each other.
import { ending, seconds } from '../core/ending.js';
import { problem } from '../core/problem.js';
import { Emitter } from '../core/events.js';
import { texts } from '../core/texts.js';
import { announce } from './announce.js';
import { banner, clearBanner } from './banners.js';
import { world } from './browser.js';
import { TerminalView } from './terminal.js';

const RESET = '\u001bc';
// Sent after the end of a program, whatever state it left the terminal in: resets margins, colours, character sets,
// modes of keys and of text, mouse reports, bracketed paste and the palette, and hides the cursor, so that text can be
// selected and typing shows nothing. Each by itself, as the soft reset (DECSTR) would remove pictures.
const OFF = ['1', '9', '45', '1000', '1002', '1003', '1004', '1005', '1006', '1015', '1016', '2004', '2026', '25'];
const MARGINS = '\u001b7\u001b[?6l\u001b[r\u001b8'; // saved around, as these move the cursor home
const SETS = '\u001b(B\u001b)B\u001b*B\u001b+B\u000f';
const AFTER = `${MARGINS}${SETS}\u001b[4l\u001b>\u001b[?7h\u001b]104\u0007\u001b]110\u0007\u001b]111\u0007\u001b]112\u0007\u001b[0 q${OFF.map((mode) => `\u001b[?${mode}l`).join('')}\u001b[0m`;
const LEAVE_ALTERNATE = '\u001b[?1049l'; // only if it is active, as it moves the cursor
/** @typedef {import('../core/channel.js').Channel} Channel */
/** @typedef {import('../core/session.js').Session} Session */

const dim = (/** @type {string} */ text) => `\r\n\u001b[2;3m${text}\u001b[0m\r\n`;

const MAX_LINE = 4095; // bytes of a line that the kernel keeps for a program that reads by lines

const ESCAPE = 27;
const PASTE = 32; // bytes that arrive together in a paste; a key sends fewer
const ENDS = new Set([3, 4, 10, 13, 21, 26, 28]); // bytes that end or discard a line: Ctrl-C, Ctrl-D, Enter, Ctrl-U, …

/** The lengths of the longest line of `bytes` and of its last, unfinished one; `before`: bytes of the first one that were typed earlier. */
const lines = (/** @type {Uint8Array} */ bytes, /** @type {number} */ before) => {
  let most = 0;
  let last = before;
  for (const byte of bytes) {
    last = ENDS.has(byte) ? 0 : last + 1;
    most = Math.max(most, last);
  }
  return { most, last };
};

/** Follows a channel that no terminal shows: its output counts as consumed, so that the server can drop it. */
export function drain(/** @type {Channel} */ channel) {
  channel.shown = false;
  channel.on('output', ({ payload, offset }) => channel.consume(offset + payload.length));
  channel.on('gap', ({ to }) => channel.consume(to));
  channel.on('exit', () => channel.consumeExit());
  channel.consume(channel.received);
  channel.consumeExit();
}

/**
 * Events: `state` (the channel's), `ended`, `line-input` (bytes typed while the program is on pipes), `overfull`
 * (input was not accepted), `long-line` (its terminal may cut what was pasted), `diagnostics`, `artifact`.
 * @extends {Emitter<{state: undefined, ended: import('../core/messages.js').Exit | null, 'line-input': Uint8Array, overfull: undefined,
 *   'long-line': undefined, diagnostics: import('../core/messages.js').Diagnostic[], artifact: import('../core/messages.js').Artifact}>}
 */
export class Screen extends Emitter {
  /** @type {(() => unknown)[]} */ #stop = [];
  #outcome;
  #began = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #tick;
  #parsed = 0; // offset at which the chunk that is being parsed begins
  #stderr = false;
  #line = 0; // bytes of the line that is being entered, from the first paste in it on

  /** @param {HTMLElement} host @param {HTMLElement} outcome @param {import('./terminal.js').Look & {label: string}} options */
  constructor(host, outcome, { label, ...options }) {
    super();
    this.label = label;
    /** @type {Channel | null} */ this.channel = null;
    /** @type {Session | null} */ this.session = null;
    this.filter = (/** @type {Uint8Array} */ bytes) => bytes; // the key bar may change typed bytes
    this.#outcome = outcome;
    this.view = new TerminalView(host, { ...options, label, quiet: () => this.channel !== null && this.#parsed < this.channel.quietUntil });
    this.view.on('size', ({ cols, rows }) => this.channel?.resize(cols, rows));
    this.view.on('input', (bytes) => this.#typed(bytes));
  }

  get running() {
    return this.channel?.running ?? false;
  }

  /** Clears the terminal and shows `channel` from its first byte on. */
  show(/** @type {Channel} */ channel, /** @type {Session} */ session) {
    this.#leave();
    this.channel = channel;
    this.session = session;
    this.#parsed = 0;
    this.#stderr = false;
    this.#line = 0;
    this.#began = world.now();
    channel.shown = true;
    // A channel of an earlier page is replayed in the size that it has.
    if (channel.size && channel.request === null) this.view.hold(channel.size);
    this.view.begin();
    // In the callback, so that earlier output is not changed by the option.
    this.view.write(RESET, () => this.view.set({ convertEol: channel.mode === 'pipe' }));
    this.#stop = [
      channel.on('output', (output) => this.#draw(channel, output)),
      channel.on('gap', (gap) => this.#drawGap(channel, gap)),
      channel.on('phase', () => this.#phase(channel)),
      channel.on('exit', (exit) => this.#ended(channel, exit)),
      channel.on('stopped', () => this.#standsStill()),
      channel.on('lost', (error) => this.#lost(channel, error)),
      channel.on('diagnostics', (items) => this.emit('diagnostics', items)),
      channel.on('artifact', (artifact) => this.emit('artifact', artifact)),
      // A watcher's terminal has the size of the one in control.
      channel.on('resized', (size) => (session.role === 'watch' || this.view.held) && this.view.hold(size)),
    ];
    this.#phase(channel);
    this.#standsStill();
  }

  /** A stopped program looks like one that hangs: the reason is shown, with a way to continue. */
  #standsStill() {
    const { channel } = this;
    const key = `stopped-${this.#outcome.id}`;
    const by = channel?.running ? channel.stopped : null;
    if (!channel || !by) {
      clearBanner(key);
      return;
    }
    /** @type {Record<string, [title: string, detail: string]>} */ const reasons = {
      output: [texts.program.holdsOutput(this.label), texts.program.holdsOutputDetail],
      TSTP: [texts.program.isStopped(this.label), texts.program.byKey],
      STOP: [texts.program.isStopped(this.label), texts.program.byItself],
    };
    const why = reasons[by] ?? [texts.program.waitsForTerminal(this.label), texts.program.waitsForTerminalDetail];
    banner(key, {
      title: why[0], detail: why[1],
      action: { label: texts.program.proceed, act: () => channel.signal('CONT') },
      other: channel.kind === 'shell' ? null : { label: texts.bar.stop, act: () => channel.kill() },
    });
  }

  /** The size of a replay or of a watched program is not ours; in control and up to date, the terminal fits itself. */
  settle() {
    if (!this.channel) return;
    if (this.session?.role === 'watch' && this.channel.size) this.view.hold(this.channel.size);
    else if (this.channel.consumed >= this.channel.replayUntil) this.view.release();
  }

  clear() {
    this.#leave();
    this.channel = null;
    this.#standsStill();
    this.view.write(RESET);
    this.view.release();
    this.#tell('none', '', [texts.program.ready]);
    this.emit('state');
  }

  /** A program is about to be shown, once what it waits for is done. */
  prepare() {
    if (!this.running) this.#tell('busy', texts.program.starting);
  }

  say(/** @type {string} */ text) {
    this.view.write(dim(text));
  }

  #leave() {
    for (const stop of this.#stop) stop();
    this.#stop = [];
    clearInterval(this.#tick);
    // Nothing shows it any more, and its output must not fill the server.
    if (this.channel) drain(this.channel);
  }

  #typed(/** @type {Uint8Array} */ typed) {
    if (!this.channel) return;
    const bytes = this.filter(typed);
    if (this.channel.mode === 'tty' && this.channel.running) this.#measure(bytes);
    if (this.channel.mode === 'pipe' && this.channel.running) this.emit('line-input', bytes);
    // A watcher's keys have no effect, so they are no fault.
    else if (this.channel.running && !this.channel.write(bytes) && this.session?.role === 'control') this.emit('overfull');
  }

  /** Warns when a line gets too long for the kernel's line buffer. A program that reads keys, such as a game, has no lines, so only pastes count. */
  #measure(/** @type {Uint8Array} */ bytes) {
    if (bytes.includes(ESCAPE)) { // an arrow key, a mouse report or an answer to a program is not a line
      this.#line = 0;
      return;
    }
    if (bytes.length < PASTE && this.#line === 0) return;
    const { most, last } = lines(bytes, this.#line);
    // Once for each line. A program with bracketed paste reads by itself, in raw mode.
    if (most > MAX_LINE && this.#line <= MAX_LINE && !this.view.term.modes.bracketedPasteMode) this.emit('long-line');
    this.#line = last;
  }

  /** @param {Channel} channel @param {import('../core/channel.js').Events['output']} output */
  #draw(channel, { payload, offset, stream }) {
    // A chunk across the end of the replay is split: only its first half is quiet (no answers of the terminal).
    const quietLeft = channel.quietUntil - offset;
    if (quietLeft > 0 && quietLeft < payload.length) {
      this.#draw(channel, { payload: payload.subarray(0, quietLeft), offset, stream });
      this.#draw(channel, { payload: payload.subarray(quietLeft), offset: offset + quietLeft, stream });
      return;
    }
    // Standard error is red on pipes.
    if (channel.mode === 'pipe' && (stream === 2) !== this.#stderr) {
      this.#stderr = stream === 2;
      this.view.write(this.#stderr ? '\u001b[31m' : '\u001b[39m');
    }
    const end = offset + payload.length;
    this.view.write(payload, () => this.#drawn(channel, end));
  }

  #drawn(/** @type {Channel} */ channel, /** @type {number} */ end) {
    if (this.channel !== channel) return; // a newer one is shown; drain() has acknowledged these bytes
    this.#parsed = end;
    channel.consume(end);
    if (this.view.held) this.settle();
  }

  /** @param {Channel} channel @param {import('../core/channel.js').Events['gap']} gap */
  #drawGap(channel, { from, to, restore }) {
    const told = dim(texts.program.gap(to - from));
    // In the alternate screen a line of text would be drawn over by the program.
    const fullScreen = restore !== null && /\u001b\[\?(1049|1047|47)h/.test(restore);
    const text = channel.mode === 'tty' ? RESET + (fullScreen ? '' : told) + (restore ?? '') : told;
    this.view.write(text, () => this.#drawn(channel, to));
  }

  #phase(/** @type {Channel} */ channel) {
    clearInterval(this.#tick);
    this.emit('state');
    this.#standsStill();
    /** @type {Record<string, string>} */ const phases = { asked: texts.program.starting, compiling: texts.program.compiling, running: texts.program.running, exited: texts.program.ending };
    const words = phases[channel.phase];
    if (!words) return;
    const draw = () => this.#tell('busy', words, channel.phase === 'running' && world.now() - this.#began > 2000 ? [seconds(world.now() - this.#began)] : []);
    if (channel.request === null) this.#tell('busy', words); // it began before this page was loaded, at an unknown time
    else {
      draw();
      this.#tick = setInterval(draw, 1000);
    }
  }

  #ended(/** @type {Channel} */ channel, /** @type {import('../core/messages.js').Exit} */ exit) {
    clearInterval(this.#tick);
    this.emit('state');
    this.#standsStill();
    // Behind all output that is still being drawn.
    this.#reset(channel, () => {
      if (this.channel !== channel) return;
      channel.consumeExit();
      this.view.release();
      const { tone, title, details } = ending(exit);
      this.#tell(tone, title, details);
      announce(texts.program.ended(this.label, title, details.join(', ')));
      this.emit('ended', exit);
    });
  }

  /** Resets the terminal's modes; the earlier output stays. */
  #reset(/** @type {Channel} */ channel, done = () => {}) {
    // The alternate screen is known only once everything before was parsed.
    this.view.write('', () => {
      if (this.channel === channel) this.view.write((this.view.alternate ? LEAVE_ALTERNATE : '') + AFTER, done);
    });
  }

  #lost(/** @type {Channel} */ channel, /** @type {import('../core/messages.js').ErrorMessage | null} */ error) {
    clearInterval(this.#tick);
    this.#standsStill();
    this.#reset(channel);
    this.view.release();
    // From the best known cause to the least.
    const told = error && problem(error);
    if (told) this.#tell('bad', texts.program.notStarted, [told.title, told.detail]);
    else if (!channel.begun) this.#tell('plain', texts.program.notStarted);
    else if (this.session?.phase === 'over') this.#tell('plain', texts.program.endedWithSession);
    else this.#tell('bad', texts.program.forgotten, [texts.program.forgottenDetail]);
    this.emit('state');
    this.emit('ended', null);
  }

  #tell(/** @type {string} */ tone, title = '', /** @type {string[]} */ details = []) {
    this.#outcome.dataset.tone = tone;
    const [first, second] = /** @type {NodeListOf<HTMLElement>} */ (this.#outcome.querySelectorAll('strong, strong + span'));
    first.textContent = title;
    second.textContent = details.filter(Boolean).join(' · ');
  }
}
