// One session, looked at: what its programs print, without a way to type. Its owner is told.
import { el } from '../app/dom.js';
import { world } from '../app/browser.js';
import { TerminalView } from '../app/terminal.js';
import { Session } from '../core/session.js';
import { ask } from './api.js';
import { at, problem } from './page.js';

/** @typedef {import('../core/channel.js').Channel} Channel */
/** @type {TerminalView | null} */ let view = null;
/** @type {(() => unknown)[]} */ let stop = [];
const MOST = 1024 * 1024; // bytes that are kept of each program, to show it again
/** @type {Map<number, {pieces: Uint8Array[], size: number}>} */ let kept = new Map();

export async function watch(/** @type {Record<string, any>} */ one) {
  let ticket;
  try {
    ticket = await ask('POST', `sessions/${encodeURIComponent(one.session)}/watch`);
    problem('');
  } catch (error) {
    problem(error instanceof Error ? error.message : String(error));
    return;
  }
  const dialog = at('watch');
  at('watch-title').textContent = `Watching ${one.session}`;
  at('watch-about').textContent = 'Its users are told that you watch.';
  at('watch-channel').replaceChildren();
  dialog.showModal();
  view ??= new TerminalView(at('watch-screen'), { textSize: 13, screenReader: false, label: 'What the program prints', quiet: () => true });
  view.write('\u001bc');
  kept = new Map();
  const session = new Session(world, {});
  /** @type {Channel | null} */ let shown = null;

  const show = (/** @type {Channel} */ channel) => {
    shown = channel;
    view?.begin();
    view?.write('\u001bc', () => view?.set({ convertEol: channel.mode === 'pipe', disableStdin: true }));
    if (channel.size) view?.hold(channel.size);
    for (const piece of kept.get(channel.id)?.pieces ?? []) view?.write(piece);
  };
  const found = (/** @type {Channel} */ channel) => {
    const own = { pieces: /** @type {Uint8Array[]} */ ([]), size: 0 };
    kept.set(channel.id, own);
    const name = `${channel.id}${channel.mode === 'pipe' ? ' (pipe)' : ''}`;
    at('watch-channel').append(el('option', { value: String(channel.id), textContent: name }));
    channel.on('output', ({ payload, offset }) => {
      own.pieces.push(payload);
      for (own.size += payload.length; own.size > MOST && own.pieces.length > 1;) own.size -= own.pieces.shift()?.length ?? 0;
      const done = () => channel.consume(offset + payload.length);
      if (shown === channel) view?.write(payload, done);
      else done();
    });
    channel.on('gap', ({ to, restore }) => {
      if (shown === channel) view?.write(`\u001bc${restore ?? ''}`);
      channel.consume(to);
    });
    channel.on('exit', () => channel.consumeExit());
    channel.on('resized', (size) => shown === channel && view?.hold(size));
    at('watch-channel').value = String(channel.id);
    show(channel);
  };
  stop = [
    session.on('channel', found),
    session.on('over', () => { at('watch-about').textContent = 'The session is over.'; }),
    session.on('notice', (told) => told.code === 'evicted' && (at('watch-about').textContent = told.message)),
    () => session.detach(),
  ];
  at('watch-channel').onchange = () => {
    const channel = session.channels.get(Number(at('watch-channel').value));
    if (channel) show(channel);
  };
  dialog.onclose = () => {
    for (const act of stop) act();
    stop = [];
    kept = new Map();
  };
  at('watch-close').onclick = () => dialog.close();
  session.resume({ client: session.client, language: one.language, session: one.session, token: ticket.token });
}
