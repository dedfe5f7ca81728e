// Watches one session: shows what its programs print, without input. Its users are told.
import { world } from '../app/browser.js';
import { Onlooker } from '../app/onlooker.js';
import { TerminalView } from '../app/terminal.js';
import { Session } from '../core/session.js';
import { ask } from './api.js';
import { at, problem } from './page.js';

/** @type {TerminalView | null} */ let view = null;

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
  dialog.showModal();
  view ??= new TerminalView(at('watch-screen'), { textSize: 13, screenReader: false, label: 'What the program prints', quiet: () => true });
  view.set({ disableStdin: true });
  const session = new Session(world, {});
  const onlooker = new Onlooker(view, session, at('watch-channel'));
  session.on('over', () => { at('watch-about').textContent = 'The session is over.'; });
  session.on('notice', (told) => told.code === 'evicted' && (at('watch-about').textContent = told.message));
  dialog.onclose = () => {
    onlooker.leave();
    session.detach();
  };
  at('watch-close').onclick = () => dialog.close();
  session.resume({ client: session.client, language: one.language, session: one.session, token: ticket.token });
}
