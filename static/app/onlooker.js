// Shows in a terminal what the programs of another's session print, one program at a time, chosen from a list.
import { texts } from '../core/texts.js';
import { el } from './dom.js';

const MOST = 1024 * 1024; // bytes that are kept of each program, to show it again
const RESET = '\u001bc';

/** @typedef {import('../core/channel.js').Channel} Channel */

export class Onlooker {
  #view;
  #select;
  /** @type {Map<number, {pieces: Uint8Array[], size: number}>} */ #kept = new Map();
  #stop;
  /** @type {Channel | null} */ shown = null;

  /**
   * @param {import('./terminal.js').TerminalView} view
   * @param {import('../core/session.js').Session} session
   * @param {HTMLSelectElement} select the list of programs
   * @param {(channel: Channel) => unknown} [changed] called when another program is shown
   */
  constructor(view, session, select, changed = () => {}) {
    this.#view = view;
    this.#select = select;
    this.changed = changed;
    view.write(RESET);
    select.replaceChildren();
    select.onchange = () => {
      const channel = session.channels.get(Number(select.value));
      if (channel) this.#show(channel);
    };
    this.#stop = session.on('channel', (channel) => this.#found(channel));
  }

  leave() {
    this.#stop();
    this.#kept.clear();
    this.shown = null;
  }

  #show(/** @type {Channel} */ channel) {
    this.shown = channel;
    this.#view.begin();
    this.#view.write(RESET, () => this.#view.set({ convertEol: channel.mode === 'pipe' }));
    if (channel.size) this.#view.hold(channel.size);
    for (const piece of this.#kept.get(channel.id)?.pieces ?? []) this.#view.write(piece);
    this.changed(channel);
  }

  #found(/** @type {Channel} */ channel) {
    const own = { pieces: /** @type {Uint8Array[]} */ ([]), size: 0 };
    this.#kept.set(channel.id, own);
    const name = `${channel.id}${channel.mode === 'pipe' ? ` (${texts.program.pipes})` : ''}`;
    this.#select.append(el('option', { value: String(channel.id), textContent: name }));
    channel.on('output', ({ payload, offset }) => {
      own.pieces.push(payload);
      for (own.size += payload.length; own.size > MOST && own.pieces.length > 1;) own.size -= own.pieces.shift()?.length ?? 0;
      const done = () => channel.consume(offset + payload.length);
      if (this.shown === channel) this.#view.write(payload, done);
      else done();
    });
    channel.on('gap', ({ to, restore }) => {
      if (this.shown === channel) this.#view.write(`${RESET}${restore ?? ''}`);
      channel.consume(to);
    });
    channel.on('exit', () => channel.consumeExit());
    channel.on('resized', (size) => this.shown === channel && this.#view.hold(size));
    this.#select.value = String(channel.id);
    this.#show(channel);
  }
}
