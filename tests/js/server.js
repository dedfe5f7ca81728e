// A model of the server for tests of the client: one session, programs as arrays of bytes, and the protocol's
// rules enforced: what the client may not do raises.
import assert from 'node:assert/strict';
import { decodeInput, encodeOutput } from '../../static/core/codec.js';

const WINDOW = 256 * 1024;
const INPUT_WINDOW = 65_536;

class Program {
  constructor(id, mode, output) {
    Object.assign(this, { id, mode, output, acked: 0, exitAcked: false, exit: null });
    Object.assign(this, { expected: 0, delivered: [], inAcked: 0, eof: null, signals: [], killed: 0, size: null, starts: 1, oldest: 0 });
  }
}

export class FakeServer {
  programs = new Map();
  opens = [];
  attaches = [];
  messages = [];
  /** @param options {outputOf(message) -> Uint8Array, chunk() -> bytes a frame, takes() -> input bytes at once} */
  constructor(options = {}) {
    this.options = { outputOf: () => new Uint8Array(), chunk: () => 1000, takes: () => 10_000, exits: () => false, ...options };
    this.session = null;
    this.live = null; // the one attached socket and its cursors
    this.over = null;
  }

  say(message, socket = this.live?.socket) {
    socket?.toClient.push(JSON.stringify(message));
  }

  accept(socket, url) {
    socket.path = url;
    this.say({ type: 'hello', protocol: 'coderunner.v1', server: 't', environment: 'test', limits: this.limits ?? {}, features: [], keepalive_s: 20 }, socket);
  }

  lost(socket) {
    if (this.live?.socket === socket) this.live = null;
  }

  receive(socket, data) {
    if (typeof data !== 'string') return this.#input(socket, decodeInput(data));
    const message = JSON.parse(data);
    this.messages.push(message);
    const act = this[`on_${message.type}`];
    assert.ok(act, `the client sent ${message.type}`);
    act.call(this, message, socket);
    this.flow();
  }

  on_open(message, socket) {
    this.opens.push(message);
    assert.equal(socket.path, 'ws');
    this.session ??= { id: 'n1-s', nonce: message.nonce, client: message.client };
    assert.equal(message.nonce, this.session.nonce);
    this.#attach(socket, {});
    this.say({
      type: 'opened', session: 'n1-s', token: 'tok', language: message.language, warm: true,
      expires: { idle_ms: 1000, total_ms: 2000 }, isolation: { runtime: 'runc', network: 'none' }, timings_ms: { queue: 0 },
    });
  }

  on_attach(message, socket) {
    this.attaches.push(message);
    assert.equal(socket.path, 'ws/n1-s');
    assert.deepEqual([message.session, message.token], ['n1-s', 'tok']);
    this.#attach(socket, message.cursors);
    this.say({
      type: 'attached', session: 'n1-s', role: 'control', expires: { idle_ms: null, total_ms: 2000 },
      channels: [...this.programs.values()].map((p) => ({
        channel: p.id, mode: p.mode, phase: p.exit ? 'exited' : 'running', from: p.oldest, to: p.output.length,
        input_offset: p.expected, input_eof: p.eof !== null, cols: p.size?.cols ?? null, rows: p.size?.rows ?? null,
      })),
    });
  }

  #attach(socket, cursors) {
    if (this.live && this.live.socket !== socket) this.live.socket.drop(4409);
    const sent = new Map();
    for (const [id, offset] of Object.entries(cursors)) sent.set(Number(id), { sent: offset, acked: offset, exit: false });
    this.live = { socket, cursors: sent };
    for (const program of this.programs.values()) program.acked = Math.max(program.acked, cursors[program.id] ?? 0);
  }

  #cursor(id) {
    if (!this.live.cursors.has(id)) this.live.cursors.set(id, { sent: 0, acked: 0, exit: false });
    return this.live.cursors.get(id);
  }

  #begin(message) {
    const known = this.programs.get(message.channel);
    if (!known) {
      const program = new Program(message.channel, message.mode ?? 'tty', this.options.outputOf(message));
      program.size = message.cols ? { cols: message.cols, rows: message.rows } : null;
      this.programs.set(message.channel, program);
    }
    this.say({ type: 'state', channel: message.channel, phase: 'running', offset: 0 });
  }

  on_run(message) { this.#begin(message); }
  on_shell(message) { this.#begin(message); }
  on_resize({ channel, cols, rows }) { this.programs.get(channel).size = { cols, rows }; }
  on_signal({ channel, name }) { this.programs.get(channel).signals.push(name); }
  on_kill({ channel }) { this.programs.get(channel).killed += 1; }
  on_eof({ channel, offset }) { this.programs.get(channel).eof = offset; }
  on_extend() {}
  on_take() {}
  on_close() { this.over = 'client'; }
  on_ping({ t }) { this.say({ type: 'pong', t }); }

  on_ack({ channel, offset, exit }) {
    const program = this.programs.get(channel);
    const cursor = this.#cursor(channel);
    assert.ok(offset <= cursor.sent, `acked ${offset}, but only ${cursor.sent} was sent`);
    cursor.acked = Math.max(cursor.acked, offset);
    program.acked = Math.max(program.acked, offset);
    if (exit) program.exitAcked = true;
  }

  #input(socket, { channel, offset, payload }) {
    const program = this.programs.get(channel);
    if (offset > program.expected) return this.say({ type: 'error', code: 'input_gap', message: 'gap', retryable: true, channel, expected: program.expected });
    const fresh = payload.subarray(Math.min(payload.length, program.expected - offset));
    const room = program.inAcked + INPUT_WINDOW - program.expected;
    program.delivered.push(...fresh.subarray(0, room));
    program.expected += Math.min(room, fresh.length);
    if (fresh.length > room) this.say({ type: 'error', code: 'input_overflow', message: 'full', retryable: true, channel, expected: program.expected });
    return this.flow();
  }

  /** Sends what the windows allow, and takes input. */
  flow() {
    if (!this.live) return;
    for (const program of this.programs.values()) {
      const cursor = this.#cursor(program.id);
      if (cursor.sent < program.oldest) {
        this.say({ type: 'gap', channel: program.id, from: cursor.sent, to: program.oldest, ...(program.mode === 'tty' ? { restore: '\u001b[?25l' } : {}) });
        cursor.sent = program.oldest;
        cursor.acked = Math.max(cursor.acked, cursor.sent);
      }
      while (cursor.sent < program.output.length && cursor.sent < cursor.acked + WINDOW) {
        const end = Math.min(program.output.length, cursor.acked + WINDOW, cursor.sent + this.options.chunk());
        this.live.socket.toClient.push(encodeOutput(program.id, 1, cursor.sent, program.output.subarray(cursor.sent, end)));
        cursor.sent = end;
      }
      const taken = program.inAcked < program.expected ? this.options.takes() : 0;
      if (taken) {
        program.inAcked = Math.min(program.expected, program.inAcked + taken);
        this.say({ type: 'in_ack', channel: program.id, offset: program.inAcked });
      }
      if (!program.exit && this.options.exits(program)) this.exit(program);
      if (program.exit && !cursor.exit && cursor.sent === program.output.length) {
        cursor.exit = true;
        this.say(program.exit);
      }
    }
  }

  exit(program) {
    program.exit = {
      type: 'exit', channel: program.id, code: 0, signal: null, reason: 'exited', limits_hit: [], left_behind: 0,
      usage: { wall_ms: 1, cpu_ms: 1, memory_peak_bytes: 1, output_bytes: program.output.length }, offset: program.output.length,
    };
  }
}
