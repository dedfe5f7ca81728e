// Watches one session of the room. A teacher can take it over with a reason, which its owner sees, type, and hand it back.
// An operator has a ticket, which only reads.
import { world } from '../app/browser.js';
import { Onlooker } from '../app/onlooker.js';
import { TerminalView } from '../app/terminal.js';
import { inWords, noticeWords } from '../core/problem.js';
import { Session } from '../core/session.js';
import { texts } from '../core/texts.js';
import { at } from './page.js';
import { request, wordsOf } from './requests.js';
import { nameOf } from './tiles.js';

/** @type {TerminalView | null} */ let view = null;
/** @type {{session: Session, onlooker: Onlooker} | null} */ let looking = null;

const control = () => looking?.session.phase === 'open' && looking.session.role === 'control';

function draw(/** @type {boolean} */ teaches) {
  if (!looking) return;
  const { session, onlooker } = looking;
  const open = session.phase === 'open';
  at('take-form').hidden = !teaches || !open || session.role === 'control';
  at('in-control').hidden = !control();
  at('stop').disabled = !onlooker.shown?.running;
  const about = session.phase === 'over' ? texts.over[session.reason ?? ''] ?? texts.session.over
    : !open || !session.link.up ? texts.wall.connecting
    : control() ? texts.wall.controlText
    : teaches ? texts.wall.watchText : `${texts.wall.watchText} ${texts.wall.operatorText}`;
  if (at('watch-about').textContent !== about) at('watch-about').textContent = about;
  const typed = control() && onlooker.shown?.mode === 'tty' && onlooker.shown.running;
  if (view?.term.options.disableStdin !== !typed) view?.set({ disableStdin: !typed });
}

/** @param {import('./tiles.js').Tile} tile @param {boolean} teaches whether by its own credential; else by an operator's ticket */
export async function watch(tile, teaches) {
  const dialog = at('watch');
  at('watch-title').textContent = texts.wall.watching(nameOf(tile));
  at('watch-about').textContent = texts.wall.connecting;
  at('watch-problem').textContent = '';
  at('take-form').hidden = at('in-control').hidden = true;
  dialog.showModal();
  if (!view) {
    view = new TerminalView(at('watch-screen'), { textSize: 13, screenReader: false, label: texts.wall.screen, quiet: () => !control() });
    view.on('input', (bytes) => control() && looking?.onlooker.shown?.write(bytes));
  }
  const session = new Session(world, {});
  const onlooker = new Onlooker(view, session, at('watch-channel'), (channel) => {
    channel.on('phase', () => draw(teaches));
    channel.on('exit', () => draw(teaches));
    draw(teaches);
  });
  looking = { session, onlooker };
  session.on('change', () => draw(teaches));
  session.on('over', () => draw(teaches));
  session.on('error', (error) => { at('watch-problem').textContent = inWords(error); });
  session.on('notice', (notice) => {
    if (!['evicted', 'handed_back'].includes(notice.code)) return;
    const { title, detail } = noticeWords(notice);
    at('watch-problem').textContent = `${title} ${detail}`;
  });
  dialog.onclose = () => {
    onlooker.leave();
    session.detach();
    looking = null;
  };
  at('watch-close').onclick = () => dialog.close();
  at('take-form').onsubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    at('watch-problem').textContent = '';
    session.take(at('word').value.trim());
    at('word').value = '';
    view?.focus();
  };
  at('give').onclick = () => session.give();
  at('stop').onclick = () => onlooker.shown?.kill();
  try {
    const token = teaches ? undefined : (await request('POST', `api/admin/sessions/${encodeURIComponent(tile.session)}/watch`)).token;
    if (looking?.session === session) session.resume({ client: session.client, language: tile.language, session: tile.session, token });
  } catch (error) {
    at('watch-problem').textContent = wordsOf(error);
  }
}
