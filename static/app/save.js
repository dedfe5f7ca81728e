// The session's own files, also those that programs made, as a zip: before the session and they are gone.
import { banner } from './banners.js';
import { el } from './dom.js';

/** Fetches the workspace and hands it to the browser as a download; says so where it cannot be had. */
export async function saveFiles(session) {
  try {
    const url = new URL(`api/sessions/${session.id}/archive`, document.baseURI);
    const answer = await fetch(url, { headers: { Authorization: `Bearer ${session.token}` }, cache: 'no-store' });
    if (!answer.ok) throw new Error((await answer.json()).error?.message ?? `status ${answer.status}`);
    const href = URL.createObjectURL(await answer.blob());
    const name = /filename="([^"]+)"/.exec(answer.headers.get('Content-Disposition') ?? '')?.[1] ?? 'project.zip';
    el('a', { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  } catch (error) {
    banner('save', { title: 'The files could not be downloaded.', detail: error.message, dismiss: true });
  }
}
