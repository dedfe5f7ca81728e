// The raised hand: shown in sessions that belong to a room, whose teachers see it on their wall.
import { texts } from '../core/texts.js';
import { announce } from './announce.js';
import { $ } from './dom.js';

/** @param {import('./desk.js').Desk} desk */
export function setUpHand(desk) {
  const button = $('hand');
  let up = false; // as it was drawn
  button.addEventListener('click', () => desk.session?.raiseHand(!up));
  desk.on('change', () => {
    const { session } = desk;
    const raised = session?.phase === 'open' ? session.hand : null;
    button.hidden = raised === null;
    // Also if a teacher or another page of the user has lowered it.
    if (Boolean(raised) !== up) announce(raised ? texts.room.handRaised : texts.room.handLowered);
    up = Boolean(raised);
    button.ariaPressed = String(up);
    button.ariaLabel = button.title = up ? texts.room.lowerHand : texts.room.raiseHand;
  });
}
