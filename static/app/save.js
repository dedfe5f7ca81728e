// Hands files to the browser as downloads.
import { utf8 } from '../core/bytes.js';
import { zip } from '../core/zip.js';
import { messageOf } from '../core/faults.js';
import { texts } from '../core/texts.js';
import { banner } from './banners.js';
import { el } from './dom.js';

const KEEP_MS = 60_000; // the browser has read it by then

/** Says so where it cannot be had. @param {Promise<Blob>} getting @param {string} name */
export async function save(getting, name) {
  try {
    const href = URL.createObjectURL(await getting);
    el('a', { href, download: name.split('/').at(-1) ?? name }).click();
    setTimeout(() => URL.revokeObjectURL(href), KEEP_MS);
  } catch (error) {
    banner('save', { title: texts.files.notDownloaded, detail: messageOf(error), dismiss: true });
  }
}

export const saveUrl = (/** @type {string} */ url, /** @type {string} */ name) => save(fetch(url, { cache: 'no-store' }).then((answer) => {
  if (!answer.ok) throw new Error(answer.status === 404 ? texts.files.gone : texts.session.answered(answer.status));
  return answer.blob();
}), name);

/** The project's files, as they are in the page. */
export function saveProject(/** @type {import('../core/project.js').Project} */ project) {
  const files = project.list().map(({ path, content }) => ({ path, bytes: typeof content === 'string' ? utf8(content) : content }));
  return save(import('../dist/zip.js').then((lib) => zip(lib, files)).then((bytes) => new Blob([bytes], { type: 'application/zip' })), `${project.name.replace(/[\\/:*?"<>|]+/g, ' ').trim() || project.language.name}.zip`);
}

/** All files of a session, also those that programs made: before the session and they are gone. */
export function saveFiles(/** @type {import('../core/remote.js').Remote} */ remote, /** @type {string} */ language) {
  return save(remote.archive().then((answer) => answer.blob()), `${language}-workspace.zip`);
}
