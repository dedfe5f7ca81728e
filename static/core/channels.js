// The channels of a session by their numbers: those that this page began, and those that it found, of an earlier page
// or another attachment.
import { fromBase64, toBase64 } from './bytes.js';
import { Channel } from './channel.js';
import { encodeClient } from './codec.js';

/** @typedef {import('./messages.js').ClientMessage} ClientMessage */
/** @typedef {Omit<import('./messages.js').Run, 'type' | 'channel'>} RunRequest */
/** @typedef {Omit<import('./messages.js').Shell, 'type' | 'channel'>} ShellRequest */

const MAX_NUMBER = 0xffff;
// More than a page's synchronous storage can hold comfortably.
const MAX_UNACKED_IN_RECORD = 512 * 1024; // bytes of input

export class Channels {
  #port;
  #found;
  /** @type {Map<number, Channel>} */ all = new Map();
  next = 1;
  /** @type {Record<string, import('./types.js').KnownChannel>} */ #known = {}; // what an earlier page stored about channels that `attached` will name

  /** @param {import('./types.js').Port} port @param {(channel: Channel) => void} found called with a channel that this page did not begin */
  constructor(port, found) {
    this.#port = port;
    this.#found = found;
  }

  [Symbol.iterator]() {
    return this.all.values();
  }

  get(/** @type {number | undefined} */ id) {
    return id === undefined ? undefined : this.all.get(id);
  }

  /** Begins a channel. Raises CodecError if the request is too large, before anything has happened. */
  begin(/** @type {Pick<import('./messages.js').Run, 'type'> & RunRequest | Pick<import('./messages.js').Shell, 'type'> & ShellRequest} */ request) {
    const id = this.#free();
    const message = { ...request, channel: id };
    // For its error only: the same text is sent later.
    encodeClient(message);
    const channel = new Channel(this.#port, { id, kind: message.type, mode: message.type === 'run' ? message.mode : 'tty', request: message });
    this.all.set(id, channel);
    return channel;
  }

  #free() {
    // Numbers are reused only after 65,536, when the old ones are long gone.
    while (this.all.has(this.next & MAX_NUMBER)) this.next += 1;
    this.next += 1;
    return (this.next - 1) & MAX_NUMBER;
  }

  /** Another attachment has used its number. */
  renumber(/** @type {Channel} */ channel) {
    this.all.delete(channel.id);
    channel.id = this.#free();
    if (channel.request) channel.request = { ...channel.request, channel: channel.id };
    this.all.set(channel.id, channel);
  }

  /** The channel of this number; one that another attachment began is added here. */
  of(/** @type {number} */ id) {
    return this.all.get(id) ?? this.#add(new Channel(this.#port, { id, kind: 'run', mode: 'tty' }));
  }

  #add(/** @type {Channel} */ channel) {
    this.all.set(channel.id, channel);
    // Above it, so that the next one does not collide.
    this.next = Math.max(this.next, channel.id + 1);
    this.#found(channel);
    return channel;
  }

  /** Takes the server's list of channels. @returns {Channel[]} those that it does not know and that are to be started again; others are lost */
  attached(/** @type {import('./messages.js').ChannelView[]} */ views) {
    for (const view of views) {
      const channel = this.all.get(view.channel);
      if (channel) channel.reattach(view);
      else this.#adopt(view);
    }
    const named = new Set(views.map(({ channel }) => channel));
    // Ended ones are shown as they are, although the server has dropped them.
    const unknown = [...this.all.values()].filter((channel) => !named.has(channel.id) && channel.live);
    const again = unknown.filter((channel) => channel.phase === 'asked' && channel.request);
    for (const channel of unknown) if (!again.includes(channel)) channel.lose();
    this.#known = {};
    return again;
  }

  #adopt(/** @type {import('./messages.js').ChannelView} */ view) {
    const { kind = 'run', shown = true, consumed, unacked } = this.#known[view.channel] ?? {};
    const channel = new Channel(this.#port, {
      // A shown one is replayed from the beginning; a drained one continues where it was.
      id: view.channel, kind, mode: view.mode, received: shown ? 0 : consumed, quietUntil: consumed ?? view.to,
    });
    channel.shown = shown;
    this.#add(channel);
    channel.adopt(view, unacked ? { ...unacked, bytes: fromBase64(unacked.bytes) } : null);
  }

  /** This page's position in the output of each channel. */
  cursors() {
    /** @type {Record<string, number>} */ const cursors = {};
    for (const [id, known] of Object.entries(this.#known)) if (!known.shown) cursors[id] = known.consumed;
    for (const channel of this.all.values()) cursors[channel.id] = channel.received;
    return cursors;
  }

  /** Nothing follows the channels any more. */
  lose() {
    for (const channel of this.all.values()) {
      channel.lose();
      channel.dispose();
    }
  }

  /** Takes what an earlier page stored. */
  recall(/** @type {Pick<import('./types.js').SessionRecord, 'next' | 'channels'>} */ { next = 1, channels = {} }) {
    this.next = next;
    this.#known = channels;
  }

  /** For a later page. @returns {Record<string, import('./types.js').KnownChannel>} */
  record() {
    const channels = { ...this.#known };
    for (const channel of this.all.values()) {
      const { offset, bytes } = channel.input.unacked();
      /** @type {import('./types.js').KnownChannel} */ const known = { kind: channel.kind, shown: channel.shown, consumed: channel.consumed };
      // Input that the program may not have got is sent again by the next page.
      if (channel.running && (bytes.length || channel.input.eof) && bytes.length <= MAX_UNACKED_IN_RECORD) {
        known.unacked = { offset, bytes: toBase64(bytes), eof: channel.input.eof };
      }
      channels[channel.id] = known;
    }
    return channels;
  }
}
