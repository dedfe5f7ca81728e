// What the page says about its session: the status line, the banners, the card while waiting.
import { seconds, sessionOver } from '../core/ending.js';
import { banner, clearBanner } from './banners.js';
import { $ } from './dom.js';
import { saveFiles } from './save.js';

const CARD_AFTER_MS = 250; // a warm start is over before anybody could read it
const TELL_LOSS_AFTER_MS = 400;
const TELL_SILENCE_AFTER_MS = 3000;
const LAST_MINUTES_MS = 5 * 60_000;

const roughly = (ms) => {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1) return 'less than a minute';
  if (minutes < 90) return `${minutes} min`;
  return `${Math.round(minutes / 60)} h`;
};

export class Status {
  #desk;
  /** @type {number | null} */ #cardSince = null;
  /** @type {number | null} */ #downSince = null;

  constructor(desk) {
    this.#desk = desk;
    desk.on('change', () => this.draw());
    desk.on('notice', (notice) => this.#notice(notice));
    desk.on('over', (reason) => this.#over(reason));
    setInterval(() => this.draw(), 1000);
    this.draw();
  }

  draw() {
    const { session } = this.#desk;
    this.#link(session);
    this.#card(session);
    this.#loss(session);
    this.#role(session);
    this.#expiry(session);
  }

  #link(session) {
    const [tone, text] = this.#linkWords(session);
    $('link-dot').dataset.tone = tone;
    if ($('link-text').textContent !== text) $('link-text').textContent = text;
    const total = session?.phase === 'open' && session.expires ? session.expires.total_ms - (Date.now() - session.expires.at) : null;
    $('expiry-text').textContent = total === null ? '' : `session lasts ${roughly(total)} more`;
  }

  #linkWords(session) {
    if (!session || session.phase === 'idle' || session.phase === 'over') return ['none', 'No session yet'];
    if (session.phase === 'queued') return ['busy', `Waiting: number ${session.place?.position ?? '?'} in the queue`];
    if (session.link.silentSince) return ['busy', `No answer for ${seconds(Date.now() - session.link.silentSince)}`];
    if (session.phase === 'connecting') return ['busy', 'Connecting'];
    if (session.link.up) return ['good', session.rttMs === null ? 'Connected' : `Connected · ${Math.max(1, Math.round(session.rttMs))} ms`];
    return session.link.stopped ? ['bad', 'Not connected'] : ['busy', 'Reconnecting'];
  }

  /** The card over the program's screen while its session is not there. */
  #card(session) {
    const waiting = Boolean(session && (session.phase === 'connecting' || session.phase === 'queued'));
    this.#cardSince = waiting ? (this.#cardSince ?? Date.now()) : null;
    const late = this.#cardSince !== null && Date.now() - this.#cardSince >= CARD_AFTER_MS;
    if (waiting && !late) setTimeout(() => this.draw(), CARD_AFTER_MS);
    $('waiting').hidden = !(waiting && (late || session.phase === 'queued'));
    if ($('waiting').hidden) return;
    const { title, detail, leave } = this.#cardWords(session);
    if ($('waiting-title').textContent !== title) $('waiting-title').textContent = title;
    $('waiting-detail').textContent = detail;
    $('leave').textContent = leave;
  }

  #cardWords(session) {
    if (session.phase === 'queued' && session.place) {
      const { position, eta_ms: eta, deadline_ms: deadline, at } = session.place;
      const left = eta === null ? null : Math.max(0, eta - (Date.now() - at));
      const patience = Math.max(0, deadline - (Date.now() - at));
      const soon = left === null ? '' : `About ${seconds(Math.max(1000, left))}. `;
      return {
        title: position <= 1 ? 'You are next' : `You are number ${position} in the queue`,
        detail: `${soon}Your program starts by itself. The place is kept for ${seconds(patience)} more at most.`,
        leave: 'Leave the queue',
      };
    }
    if (session.link.retryInMs !== null) {
      const again = Math.max(0, Math.ceil((session.link.retryInMs - (Date.now() - session.link.at)) / 1000));
      return { title: session.error ? 'No room yet' : 'The server cannot be reached', detail: `Trying again${again ? ` in ${again} s` : ''} …`, leave: 'Stop trying' };
    }
    return { title: 'Starting', detail: 'A container is being prepared.', leave: 'Cancel' };
  }

  #loss(session) {
    const lost = session?.phase === 'open' && !session.link.up;
    this.#downSince = lost ? (this.#downSince ?? Date.now()) : null;
    if (this.#downSince === null) {
      this.#silence(session);
      return;
    }
    if (session.link.stopped) {
      const elsewhere = session.link.code === 4409;
      banner('link', elsewhere
        ? { title: 'This session is open in another page.', detail: 'The program runs on there.', action: { label: 'Use it here', act: () => session.reconnect() } }
        : { tone: 'bad', title: 'The server closed the connection.', detail: `Code ${session.link.code}.`, action: { label: 'Try again', act: () => session.reconnect() } });
      return;
    }
    if (Date.now() - this.#downSince < TELL_LOSS_AFTER_MS) {
      setTimeout(() => this.draw(), TELL_LOSS_AFTER_MS);
      return;
    }
    banner('link', {
      title: 'Connection lost. Reconnecting …', detail: this.#desk.program.running ? 'Your program runs on.' : '',
      action: { label: 'Try now', act: () => session.hurry() },
    });
  }

  /** Connected, but nothing comes: what is typed may be on its way, or go nowhere. */
  #silence(session) {
    const since = session?.phase === 'open' ? session.link.silentSince : null;
    if (!since || Date.now() - since < TELL_SILENCE_AFTER_MS) {
      clearBanner('link');
      return;
    }
    banner('link', {
      title: navigator.onLine ? 'The server does not answer.' : 'Your device is offline.',
      detail: 'What you type is kept, and sent when it does.', action: { label: 'Connect again', act: () => session.renew() },
    });
  }

  #role(session) {
    const watching = session?.phase === 'open' && session.link.up && session.role === 'watch';
    $('program-watch').hidden = !watching;
    if (!watching) clearBanner('role');
    else banner('role', { tone: 'info', title: 'You are watching.', detail: 'Another page has the control of this session.', action: { label: 'Take control', act: () => session.take() } });
  }

  #expiry(session) {
    if (session?.phase !== 'open' || !session.expires) {
      clearBanner('expiry');
      return;
    }
    const gone = Date.now() - session.expires.at;
    const total = session.expires.total_ms - gone;
    const save = { label: 'Download its files', act: () => saveFiles(this.#desk.mirror.remote, session.language) };
    if (total < LAST_MINUTES_MS) {
      banner('expiry', { title: `This session ends in ${roughly(total)}.`, detail: 'It has reached its greatest age. What you wrote stays in this page; what programs made goes with the session.', action: save });
    } else if (this.#desk.idleWarned) {
      banner('expiry', { title: 'This session ends soon, because nothing happens in it.', action: { label: 'Keep it', act: () => this.#keep(session) }, other: save });
    } else {
      clearBanner('expiry');
    }
  }

  #keep(session) {
    session.extend();
    this.#desk.idleWarned = false;
    this.draw();
  }

  #notice({ code, message }) {
    if (code === 'idle_warning') this.#desk.idleWarned = true;
    else if (code !== 'lifetime_warning') banner(`notice-${code}`, { tone: 'info', title: message, dismiss: true });
    this.draw();
  }

  #over(reason) {
    this.#desk.idleWarned = false;
    if (reason !== 'client' && reason !== 'refused') {
      banner('over', { tone: 'info', title: sessionOver(reason), detail: 'Your files are still here. Run again to begin a new session.', dismiss: true });
    }
  }
}
