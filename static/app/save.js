// Hands files to the browser as downloads.
import { utf8 } from '../core/bytes.js';
import { zip } from '../core/zip.js';
import { texts } from '../core/texts.js';
import { banner } from './banners.js';
import { el } from './dom.js';

const KEEP_MS = 60_000; // the browser has read it by then

/** @param getting a Promise of a Blob; says so where it cannot be had */
export async function save(getting, name) {
  try {
    const href = URL.createObjectURL(await getting);
    el('a', { href, download: name.split('/').at(-1) }).click();
    setTimeout(() => URL.revokeObjectURL(href), KEEP_MS);
  } catch (error) {
    banner('save', { title: texts.files.notDownloaded, detail: error.message, dismiss: true });
  }
}

export const saveUrl = (url, name) => save(fetch(url, { cache: 'no-store' }).then((answer) => {
  if (!answer.ok) throw new Error(answer.status === 404 ? texts.files.gone : texts.session.answered(answer.status));
  return answer.blob();
}), name);

/** The project's files, as they are in the page. */
export function saveProject(project) {
  const files = project.list().map(({ path, content }) => ({ path, bytes: typeof content === 'string' ? utf8(content) : content }));
  return save(import('../dist/zip.js').then((lib) => zip(lib, files)).then((bytes) => new Blob([/** @type {any} */ (bytes)], { type: 'application/zip' })), `${project.name.replace(/[\\/:*?"<>|]+/g, ' ').trim() || project.language.name}.zip`);
}

/** All files of a session, also those that programs made: before the session and they are gone. @param remote its Remote */
export function saveFiles(remote, language) {
  return save(remote.archive().then((answer) => answer.blob()), `${language}-workspace.zip`);
}
