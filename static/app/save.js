// Saves files as downloads of the browser.
import { utf8 } from '../core/bytes.js';
import { zip } from '../core/zip.js';
import { messageOf } from '../core/faults.js';
import { unanswered } from '../core/remote.js';
import { texts } from '../core/texts.js';
import { banner } from './banners.js';
import { el } from './dom.js';

const KEEP_MS = 60_000; // within which the browser has read it

/** Reports a failure in a banner. @param {Promise<Blob>} getting @param {string} name */
export async function save(getting, name) {
  try {
    const href = URL.createObjectURL(await getting);
    // A link with `download` is the only way to name a file without asking for a permission.
    el('a', { href, download: name.split('/').at(-1) ?? name }).click();
    setTimeout(() => URL.revokeObjectURL(href), KEEP_MS);
  } catch (error) {
    banner('save', { title: texts.files.notDownloaded, detail: messageOf(error), dismiss: true });
  }
}

export const saveUrl = (/** @type {string} */ url, /** @type {string} */ name) => save(fetched(url), name);

async function fetched(/** @type {string} */ url) {
  let answer;
  try {
    answer = await fetch(url, { cache: 'no-store' });
    if (answer.ok) return await answer.blob();
  } catch (error) {
    throw unanswered(error);
  }
  // The address has expired, or the file was deleted.
  throw new Error(answer.status === 404 ? texts.files.gone : texts.session.answered(answer.status));
}

/** The project's files, as they are in the page. */
export function saveProject(/** @type {import('../core/project.js').Project} */ project) {
  const files = project.list().map(({ path, content }) => ({ path, bytes: typeof content === 'string' ? utf8(content) : content }));
  // Without the characters that Windows does not allow in a name.
  return save(import('../dist/zip.js').then((lib) => zip(lib, files)).then((bytes) => new Blob([bytes], { type: 'application/zip' })), `${project.name.replace(/[\\/:*?"<>|]+/g, ' ').trim() || project.language.name}.zip`);
}

/** All files of a session, also those that programs made, which would be lost with the session. */
export function saveFiles(/** @type {import('../core/remote.js').Remote} */ remote, /** @type {string} */ language) {
  return save(remote.archive(), `${language}-workspace.zip`);
}
