// Files for all sessions of the room, and those of all sessions as one archive.
import { texts } from '../core/texts.js';
import { zip } from '../core/zip.js';
import { at } from './page.js';
import { answerOf, wordsOf } from './requests.js';

const WITHIN_MS = 300_000;
const ARCHIVE = /\.(zip|tar|tar\.gz|tgz)$/i;

/** One archive as it is; anything else as a zip of it. @param {File[]} files */
async function packed(files) {
  if (files.length === 1 && ARCHIVE.test(files[0].name)) return files[0];
  const contents = await Promise.all(files.map(async (file) => ({ path: file.name, bytes: new Uint8Array(await file.arrayBuffer()) })));
  return new Blob([await zip(await import('../dist/zip.js'), contents)]);
}

export function handOut(/** @type {string} */ room) {
  const dialog = at('hand-out');
  at('hand-out-files').value = at('hand-out-problem').textContent = '';
  at('hand-out-files').onchange = () => {
    const [first] = at('hand-out-files').files;
    if (first && ARCHIVE.test(first.name)) at('hand-out-folder').value = first.name.replace(ARCHIVE, '');
  };
  at('hand-out-cancel').onclick = () => dialog.close();
  at('hand-out-form').onsubmit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    at('hand-out-send').disabled = true;
    try {
      const into = encodeURIComponent(at('hand-out-folder').value.trim());
      const body = await packed([...at('hand-out-files').files]);
      const answer = await answerOf('PUT', `api/rooms/${encodeURIComponent(room)}/project?into=${into}`, { body, within: WITHIN_MS });
      /** @type {{files: number, sessions: {name: string, error: string | null}[]}} */ const { files, sessions } = await answer.json();
      const without = sessions.filter(({ error }) => error !== null).map(({ name, error }) => `${name} (${error})`);
      dialog.close();
      const done = texts.wall.handedOut(files, sessions.length - without.length);
      at('status').textContent = without.length ? `${done} ${texts.wall.notHandedOut(without)}` : done;
    } catch (error) {
      at('hand-out-problem').textContent = wordsOf(error);
    } finally {
      at('hand-out-send').disabled = false;
    }
  };
  dialog.showModal();
}

/** Has the browser save the archive. */
export async function collect(/** @type {string} */ room) {
  at('collect').disabled = true;
  at('status').textContent = texts.wall.collecting;
  try {
    const answer = await answerOf('GET', `api/rooms/${encodeURIComponent(room)}/archive`, { within: WITHIN_MS });
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${room}.zip`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    at('status').textContent = texts.wall.collected;
  } catch (error) {
    at('status').textContent = wordsOf(error);
  } finally {
    at('collect').disabled = false;
  }
}
