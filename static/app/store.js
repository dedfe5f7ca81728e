// Small things that the browser stores: settings, the session, what was open. If the storage is full or forbidden, only
// storing fails and not the page. Projects are in core/library.js.

const SETTINGS = 'coderunner:settings';
const SESSION = 'coderunner:session';
const TAB = 'coderunner:tab';
const UNSAVED = 'coderunner:unsaved:';
/**
 * @typedef {{language: string | null, room: string | null, theme: 'dark' | 'light' | null, textSize: number, screenReader: boolean, treeOpen: boolean,
 *   artifactsOpen: boolean, sizes: Record<string, number>}} Settings
 */
/**
 * This page's session, for a later one: `sent` as in the Mirror, `wanted`: what was requested and does not exist yet.
 * @typedef {import('../core/types.js').SessionRecord & {sent: Record<string, [string | null, string | null]>, wanted: ('run' | 'shell')[],
 *   project: string, name: string, files: string[], at: number}} PageRecord
 */
/** @typedef {import('../core/types.js').Sample & Partial<import('../core/types.js').Options>} OldProject of versions before the library; `sample` is its name */

const viewOf = (/** @type {string} */ project) => `coderunner:view:${project}`;
const oldProject = (/** @type {string} */ language) => `coderunner:project:${language}`;

// A function, as merely naming the storage raises an error where it is forbidden.
/** @param {() => Storage} storage @param {string} key */
function read(storage, key) {
  try {
    return JSON.parse(storage().getItem(key) ?? 'null');
  // Forbidden, or something else was written there.
  } catch {
    return null;
  }
}

/** @param {() => Storage} storage @param {string} key @param {unknown} value */
function write(storage, key, value) {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, JSON.stringify(value));
    return true;
  // Full or forbidden.
  } catch {
    return false;
  }
}

const local = () => localStorage;
const tab = () => sessionStorage;

export class Store {
  /** @type {Settings} */ settings = { language: null, room: null, theme: null, textSize: 14, screenReader: false, treeOpen: true, artifactsOpen: true, sizes: {}, ...read(local, SETTINGS) };

  set(/** @type {Partial<Settings>} */ change) {
    Object.assign(this.settings, change);
    write(local, SETTINGS, this.settings);
  }

  /** The project of a language as versions before the library stored it. @returns {OldProject | null} */
  oldProject(/** @type {string} */ language) {
    return read(local, oldProject(language));
  }

  dropOldProject(/** @type {string} */ language) {
    write(local, oldProject(language), null);
  }

  /** The project that this tab shows. @returns {{id: string, language: string} | null} */
  get tab() {
    return read(tab, TAB);
  }

  set tab(value) {
    write(tab, TAB, value);
  }

  /** What is open in a project: in this tab, otherwise where it was shown last. @returns {import('../core/types.js').View | null} */
  view(/** @type {string} */ project) {
    return read(tab, viewOf(project)) ?? read(local, viewOf(project));
  }

  keepView(/** @type {string} */ project, /** @type {import('../core/types.js').View} */ view) {
    write(tab, viewOf(project), view);
    write(local, viewOf(project), view);
  }

  dropView(/** @type {string} */ project) {
    write(local, viewOf(project), null);
  }

  /** Changes that a page could not write before it ended: transactions of the library end with the page. */
  keepUnsaved(/** @type {string} */ project, /** @type {string} */ page, /** @type {import('../core/types.js').Change[]} */ changes) {
    return write(local, `${UNSAVED}${project}:${page}`, changes.length ? changes : null);
  }

  /** @returns {import('../core/types.js').Change[][]} of earlier pages, which this page takes over */
  takeUnsaved(/** @type {string} */ project) {
    try {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(`${UNSAVED}${project}:`));
      const found = keys.map((key) => read(local, key));
      // Taken before they are used: two tabs must not restore the same.
      for (const key of keys) write(local, key, null);
      return found.filter(Array.isArray);
    } catch {
      return [];
    }
  }

  /** This tab's session or, for a new tab, the last one of this browser. @returns {{own: PageRecord | null, last: PageRecord | null}} */
  session() {
    return { own: read(tab, SESSION), last: read(local, SESSION) };
  }

  saveSession(/** @type {PageRecord | null} */ record) {
    write(tab, SESSION, record);
    // Only one with an id can be resumed by another tab.
    if (record?.session) write(local, SESSION, record);
  }

  /** A session has ended: no tab resumes it. */
  dropSession(/** @type {string} */ id) {
    if (read(tab, SESSION)?.session === id) write(tab, SESSION, null);
    if (read(local, SESSION)?.session === id) write(local, SESSION, null);
  }
}

/**
 * Locks the name of a session as long as this page lives, so that two tabs do not take it from each other.
 * @param {string} session @param {{waitMs?: number, otherwise: boolean}} options
 * @returns {Promise<boolean>} false if another tab has it; `otherwise` if the browser has no locks
 */
export function claim(session, { waitMs = 0, otherwise }) {
  // Old browsers, and pages without TLS.
  if (!navigator.locks) return Promise.resolve(otherwise);
  const options = waitMs ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true };
  return new Promise((resolve) => {
    navigator.locks
      .request(`coderunner:${session}`, options, (lock) => {
        resolve(lock !== null);
        return lock && new Promise(() => {}); // until the page ends
      })
      .catch(() => resolve(false));
  });
}
