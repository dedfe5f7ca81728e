// What the browser keeps of small things: settings for good, the session for its life, what was open. A storage that is
// full or forbidden costs the keeping, never the page. Projects are in core/library.js.

const SETTINGS = 'coderunner:settings';
const SESSION = 'coderunner:session';
const TAB = 'coderunner:tab';
const UNSAVED = 'coderunner:unsaved:';
/**
 * @typedef {{language: string | null, theme: 'dark' | 'light' | null, textSize: number, screenReader: boolean, treeOpen: boolean,
 *   artifactsOpen: boolean, sizes: Record<string, number>}} Settings
 */
/**
 * Of this page's session, for a later one: `sent` as the Mirror has it, `wanted` what was asked for and is not there yet.
 * @typedef {import('../core/types.js').SessionRecord & {sent: Record<string, [string | null, string | null]>, wanted: ('run' | 'shell')[],
 *   project: string, name: string, files: string[], at: number}} PageRecord
 */
/** @typedef {import('../core/types.js').Sample & Partial<import('../core/types.js').Options>} OldProject before there was the library; `sample` is its name */

const viewOf = (/** @type {string} */ project) => `coderunner:view:${project}`;
const oldProject = (/** @type {string} */ language) => `coderunner:project:${language}`;

/** @param {() => Storage} storage @param {string} key */
function read(storage, key) {
  try {
    return JSON.parse(storage().getItem(key) ?? 'null');
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
  } catch {
    return false;
  }
}

const local = () => localStorage;
const tab = () => sessionStorage;

export class Store {
  /** @type {Settings} */ settings = { language: null, theme: null, textSize: 14, screenReader: false, treeOpen: true, artifactsOpen: true, sizes: {}, ...read(local, SETTINGS) };

  set(/** @type {Partial<Settings>} */ change) {
    Object.assign(this.settings, change);
    write(local, SETTINGS, this.settings);
  }

  /** The project of a language as this page kept it before there was the library. @returns {OldProject | null} */
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

  /** What is open of a project, in this tab, else where it was shown last. @returns {import('../core/types.js').View | null} */
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

  /** What a page that goes away could not write any more: the library's transactions end with the page. */
  keepUnsaved(/** @type {string} */ project, /** @type {string} */ page, /** @type {import('../core/types.js').Change[]} */ changes) {
    return write(local, `${UNSAVED}${project}:${page}`, changes.length ? changes : null);
  }

  /** @returns {import('../core/types.js').Change[][]} of earlier pages; they are this page's now */
  takeUnsaved(/** @type {string} */ project) {
    try {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(`${UNSAVED}${project}:`));
      const found = keys.map((key) => read(local, key));
      for (const key of keys) write(local, key, null);
      return found.filter(Array.isArray);
    } catch {
      return [];
    }
  }

  /** This tab's session, or, for a new tab, the last one of this browser. @returns {{own: PageRecord | null, last: PageRecord | null}} */
  session() {
    return { own: read(tab, SESSION), last: read(local, SESSION) };
  }

  saveSession(/** @type {PageRecord | null} */ record) {
    write(tab, SESSION, record);
    if (record?.session) write(local, SESSION, record);
  }

  /** A session is over: no tab goes on with it. */
  dropSession(/** @type {string} */ id) {
    if (read(tab, SESSION)?.session === id) write(tab, SESSION, null);
    if (read(local, SESSION)?.session === id) write(local, SESSION, null);
  }
}

/**
 * Holds the name of a session for this page's life, so that two tabs do not take it from each other.
 * @param {string} session @param {{waitMs?: number, otherwise: boolean}} options
 * @returns {Promise<boolean>} false where another tab holds it; where the browser has no locks, `otherwise`
 */
export function claim(session, { waitMs = 0, otherwise }) {
  if (!navigator.locks) return Promise.resolve(otherwise);
  const options = waitMs ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true };
  return new Promise((resolve) => {
    navigator.locks
      .request(`coderunner:${session}`, options, (lock) => {
        resolve(lock !== null);
        return lock && new Promise(() => {}); // until the page goes
      })
      .catch(() => resolve(false));
  });
}
