// The room in which sessions are opened: the only one, or one that the user chooses. The page tells users that the room's
// teachers may watch their sessions, and what is kept.
import { texts } from '../core/texts.js';
import { banner, clearBanner } from './banners.js';
import { world } from './browser.js';
import { $, el } from './dom.js';

/** @typedef {import('./identity.js').Who} Who */
const MATTER = 'room'; // of the banner

function tell(/** @type {Who} */ who, /** @type {string | null} */ room) {
  if (room !== null) {
    const kept = who.audit_days ? texts.room.kept(who.audit_days) : texts.room.keptForEver;
    const detail = [texts.room.watch, kept, who.audit_programs ? texts.room.programs : ''].filter(Boolean).join(' ');
    banner(MATTER, { tone: 'info', title: texts.room.consent(room), detail, dismiss: true });
  } else if (who.rooms.length > 1) {
    banner(MATTER, { tone: 'info', title: texts.room.choose, detail: texts.room.chooseDetail, dismiss: true });
  } else {
    clearBanner(MATTER);
  }
}

/** @param {import('./desk.js').Desk} desk @param {import('./store.js').Store} store @returns {(who: Who) => void} to be called with who is signed in */
export function setUpRooms(desk, store) {
  const choose = (/** @type {Who} */ who, /** @type {string | null} */ room) => {
    desk.room = room;
    $('room-text').textContent = room === null ? '' : texts.room.name(room);
    for (const item of $('menu-rooms').children) item.setAttribute('aria-checked', String(item.getAttribute('data-room') === (room ?? '')));
    tell(who, room);
  };
  return (who) => {
    const { rooms } = who;
    const choices = rooms.length > 1 ? [null, ...rooms] : rooms;
    $('menu-rooms').hidden = !rooms.length;
    const taught = who.roles.includes('teacher') ? rooms : [];
    $('menu-walls').hidden = !taught.length;
    $('menu-walls').replaceChildren(...taught.map((room) => el('button', {
      type: 'button', textContent: texts.room.wall(room), attrs: { role: 'menuitem' },
      on: { click: () => open(world.api(`room/${encodeURIComponent(room)}`), '_blank', 'noopener') },
    })));
    $('menu-rooms').replaceChildren(...choices.map((room) => el('button', {
      type: 'button', textContent: room === null ? texts.room.none : texts.room.name(room), attrs: { role: 'menuitemradio', 'data-room': room ?? '' },
      on: {
        click: () => {
          $('more-menu').hidePopover();
          store.set({ room });
          choose(who, room);
        },
      },
    })));
    const stored = store.settings.room;
    choose(who, rooms.length === 1 ? rooms[0] : rooms.find((room) => room === stored) ?? null);
  };
}
