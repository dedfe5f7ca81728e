// What the page shows about its session: status line, banners, and the card while waiting.
import { seconds, sessionOver } from '../core/ending.js';
import { noticeWords } from '../core/problem.js';
import { texts } from '../core/texts.js';
import { banner, clearBanner } from './banners.js';
import { world } from './browser.js';
import { $ } from './dom.js';
import { saveFiles } from './save.js';

const CARD_AFTER_MS = 250; // a warm start takes less, and a flashing card could not be read
// Shorter losses are mended before anybody notices them.
const TELL_LOSS_AFTER_MS = 400;
const TELL_SILENCE_AFTER_MS = 3000;
const LAST_MINUTES_MS = 5 * 60_000;

/** @typedef {import('../core/session.js').Session} Session */

// Rounded, as the figure would otherwise change while it is read.
const roughly = (/** @type {number} */ ms) => {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1) return texts.units.underMinute;
  if (minutes < 90) return texts.units.minutes(minutes);
  return texts.units.hours(Math.round(minutes / 60));
};

/** What is left of the quotas that the caller has; '' without any. */
function quotasLeft(/** @type {Session} */ { quotas }) {
  const passed = (world.now() - quotas.at) / 1000;
  const words = quotas.left.map(({ kind, of, remaining, reset_s: reset }) => {
    const left = passed >= reset ? of : remaining; // a new period has begun
    return texts.quotas[kind]?.(left) ?? '';
  });
  return words.some(Boolean) ? texts.status.left(words.filter(Boolean).join(', ')) : '';
}

export class Status {
  #desk;
  #idleWarned = false;
  /** @type {number | null} */ #cardSince = null;
  /** @type {number | null} */ #downSince = null;

  constructor(/** @type {import('./desk.js').Desk} */ desk) {
    this.#desk = desk;
    desk.on('change', () => this.draw());
    desk.on('notice', (notice) => this.#notice(notice));
    desk.on('people', (people) => this.#guests(people));
    desk.on('over', (reason) => this.#over(reason));
    // The times that are shown change without an event.
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

  #link(/** @type {Session | null} */ session) {
    const [tone, text] = this.#linkWords(session);
    $('link-dot').dataset.tone = tone;
    // An unchanged text is not written: a screen reader would read it again.
    if ($('link-text').textContent !== text) $('link-text').textContent = text;
    const total = session?.phase === 'open' && session.expires ? session.expires.total_ms - (world.now() - session.expires.at) : null;
    $('expiry-text').textContent = total === null ? '' : texts.status.lasts(roughly(total));
    const left = session === null ? '' : quotasLeft(session);
    if ($('quota-text').textContent !== left) $('quota-text').textContent = left;
  }

  /** @returns {[tone: string, text: string]} */
  #linkWords(/** @type {Session | null} */ session) {
    if (!session || session.phase === 'idle' || session.phase === 'over') return ['none', texts.status.none];
    if (session.phase === 'queued') return ['busy', texts.status.waiting(session.place?.position ?? '?')];
    if (session.link.silentSince) return ['busy', texts.status.silent(seconds(world.now() - session.link.silentSince))];
    if (session.phase === 'connecting') return ['busy', texts.status.connecting];
    if (session.link.up) return ['good', session.rttMs === null ? texts.status.connected : texts.status.connectedTime(texts.units.milliseconds(Math.max(1, Math.round(session.rttMs))))];
    return session.link.stopped ? ['bad', texts.status.notConnected] : ['busy', texts.status.reconnecting];
  }

  /** The card over the program's screen while it waits for its session. */
  #card(/** @type {Session | null} */ session) {
    const waiting = Boolean(session && (session.phase === 'connecting' || session.phase === 'queued'));
    // Kept from the first moment on, through `connecting` and `queued`.
    this.#cardSince = waiting ? (this.#cardSince ?? world.now()) : null;
    const late = this.#cardSince !== null && world.now() - this.#cardSince >= CARD_AFTER_MS;
    // Otherwise nothing would draw it before the next second.
    if (waiting && !late) setTimeout(() => this.draw(), CARD_AFTER_MS);
    const shown = session && waiting && (late || session.phase === 'queued') ? session : null;
    $('waiting').hidden = !shown;
    if (!shown) return;
    const { title, detail, leave } = this.#cardWords(shown);
    if ($('waiting-title').textContent !== title) $('waiting-title').textContent = title;
    $('waiting-detail').textContent = detail;
    $('leave').textContent = leave;
  }

  #cardWords(/** @type {Session} */ session) {
    if (session.phase === 'queued' && session.place) {
      const { position, eta_ms: eta, deadline_ms: deadline, at } = session.place;
      // Times of the server are counted down from when they arrived.
      const left = eta === null ? null : Math.max(0, eta - (world.now() - at));
      const patience = Math.max(0, deadline - (world.now() - at));
      const soon = left === null ? '' : `${texts.waiting.about(seconds(Math.max(1000, left)))} `;
      return {
        title: position <= 1 ? texts.waiting.next : texts.waiting.place(position),
        detail: soon + texts.waiting.patience(seconds(patience)),
        leave: texts.waiting.leave,
      };
    }
    if (session.link.retryInMs !== null) {
      const again = Math.max(0, Math.ceil((session.link.retryInMs - (world.now() - (session.link.at ?? 0))) / 1000));
      return { title: session.error ? texts.waiting.noRoom : texts.waiting.unreachable, detail: again ? texts.waiting.againIn(texts.units.seconds(again, 0)) : texts.waiting.again, leave: texts.waiting.stopTrying };
    }
    return { title: texts.waiting.starting, detail: texts.waiting.startingText, leave: texts.page.cancel };
  }

  #loss(/** @type {Session | null} */ session) {
    const lost = session?.phase === 'open' && !session.link.up;
    this.#downSince = lost ? (this.#downSince ?? world.now()) : null;
    if (!session || this.#downSince === null) {
      this.#silence(session);
      return;
    }
    if (session.link.stopped) {
      // 4409: another tab of this client has attached.
      const elsewhere = session.link.code === 4409;
      banner('link', elsewhere
        ? { title: texts.session.elsewhere, detail: texts.session.elsewhereDetail, action: { label: texts.session.useHere, act: () => session.reconnect() } }
        : { tone: 'bad', title: texts.session.closed, detail: texts.session.code(session.link.code ?? 0), action: { label: texts.session.tryAgain, act: () => session.reconnect() } });
      return;
    }
    if (world.now() - this.#downSince < TELL_LOSS_AFTER_MS) {
      setTimeout(() => this.draw(), TELL_LOSS_AFTER_MS);
      return;
    }
    banner('link', {
      title: texts.session.lost, detail: this.#desk.program.running ? texts.session.runsOn : '',
      action: { label: texts.session.tryNow, act: () => session.hurry() },
    });
  }

  /** Connected, but nothing is received: typed input may be delayed or lost. */
  #silence(/** @type {Session | null} */ session) {
    const since = session?.phase === 'open' ? session.link.silentSince : null;
    if (!session || !since || world.now() - since < TELL_SILENCE_AFTER_MS) {
      clearBanner('link');
      return;
    }
    banner('link', {
      title: navigator.onLine ? texts.page.noServer : texts.session.offline,
      detail: texts.session.keptTyping, action: { label: texts.session.connectAgain, act: () => session.renew() },
    });
  }

  #role(/** @type {Session | null} */ session) {
    const watching = session?.phase === 'open' && session.link.up && session.role === 'watch';
    $('program-watch').hidden = !watching;
    // Not shown while the connection is down: the role is known after it is back.
    if (!watching) clearBanner('role');
    else banner('role', { tone: 'info', title: texts.session.watching, detail: texts.session.watchingDetail, action: { label: texts.session.take, act: () => session.take() } });
  }

  #expiry(/** @type {Session | null} */ session) {
    if (session?.phase !== 'open' || !session.expires) {
      clearBanner('expiry');
      return;
    }
    const gone = world.now() - session.expires.at;
    const total = session.expires.total_ms - gone;
    const remote = this.#desk.mirror?.remote;
    const save = { label: texts.session.download, act: () => remote && saveFiles(remote, session.language ?? '') };
    // In the last minutes nothing can extend the session; before that, activity can.
    if (total < LAST_MINUTES_MS) {
      banner('expiry', { title: texts.session.ends(roughly(total)), detail: texts.session.endsDetail, action: save });
    } else if (this.#idleWarned) {
      banner('expiry', { title: texts.session.endsIdle, action: { label: texts.session.keep, act: () => this.#keep(session) }, other: save });
    } else {
      clearBanner('expiry');
    }
  }

  #keep(/** @type {Session} */ session) {
    session.extend();
    this.#idleWarned = false;
    this.draw();
  }

  #notice(/** @type {import('../core/messages.js').Notice} */ notice) {
    const { code } = notice;
    if (code === 'idle_warning') this.#idleWarned = true;
    else if (code === 'unwatched') clearBanner('notice-watched');
    else if (code === 'handed_back') clearBanner('notice-taken_over');
    // Each of these stands until its user has read it.
    else if (code === 'operator' || code === 'teacher') banner(`notice-${notice.message}`, { tone: 'info', ...noticeWords(notice), dismiss: true });
    // The warning of the lifetime is drawn from the session's own figures.
    else if (code !== 'lifetime_warning') banner(`notice-${code}`, { tone: 'info', ...noticeWords(notice), dismiss: true });
    this.draw();
  }

  /** Who asks for the control gets an answer; for the others a word that they are here. */
  #guests(/** @type {import('../core/messages.js').Person[]} */ people) {
    const { session } = this.#desk;
    const guests = people.filter(({ owner }) => !owner);
    const asking = guests.find(({ asks }) => asks);
    if (!session || !guests.length) {
      clearBanner('guests');
    } else if (asking) {
      banner('guests', {
        tone: 'info', title: texts.session.asks(asking.name),
        action: { label: texts.session.allow, act: () => session.answer(asking.who, true) },
        other: { label: texts.session.decline, act: () => session.answer(asking.who, false) },
      });
    } else {
      banner('guests', { tone: 'info', title: texts.session.guests(guests.map(({ name }) => name).join(', ')), dismiss: true });
    }
  }

  #over(/** @type {string} */ reason) {
    clearBanner('guests');
    this.#idleWarned = false;
    // The user has ended it, or an error was shown already.
    if (reason !== 'client' && reason !== 'refused') {
      banner('over', { tone: 'info', title: sessionOver(reason), detail: texts.session.filesHere, dismiss: true });
    }
  }
}
