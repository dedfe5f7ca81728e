// A message from the teacher: to all sessions of the room, or to one.
import { texts } from '../core/texts.js';
import { at } from './page.js';
import { request, wordsOf } from './requests.js';
import { nameOf } from './tiles.js';

/** @param {string} room @param {import('./tiles.js').Tile | null} tile of the only one that is told; null for all */
export function tell(room, tile) {
  const dialog = at('tell');
  at('tell-title').textContent = tile ? texts.wall.tellTo(nameOf(tile)) : texts.wall.tellAll;
  at('tell-about').textContent = tile ? texts.wall.tellText : texts.wall.tellAllText;
  at('tell-text').value = at('tell-problem').textContent = '';
  at('tell-cancel').onclick = () => dialog.close();
  at('tell-form').onsubmit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    at('tell-send').disabled = true;
    try {
      const told = await request('POST', `api/rooms/${encodeURIComponent(room)}/notices`, { text: at('tell-text').value.trim(), session: tile?.session ?? null });
      dialog.close();
      at('status').textContent = texts.wall.sent(told.attachments);
    } catch (error) {
      at('tell-problem').textContent = wordsOf(error);
    } finally {
      at('tell-send').disabled = false;
    }
  };
  dialog.showModal();
}
