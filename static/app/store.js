// What the browser keeps: settings and projects for good, the session for its life. A storage that is full or
// forbidden costs the keeping, never the page.

const SETTINGS = 'coderunner:settings';
const SESSION = 'coderunner:session';
const project = (language) => `coderunner:project:${language}`;

function read(storage, key) {
  try {
    return JSON.parse(storage().getItem(key));
  } catch {
    return null;
  }
}

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
  settings = { language: null, theme: null, textSize: 14, screenReader: false, treeOpen: true, artifactsOpen: true, sizes: {}, ...read(local, SETTINGS) };

  set(change) {
    Object.assign(this.settings, change);
    write(local, SETTINGS, this.settings);
  }

  project(language) {
    return read(local, project(language));
  }

  /** False where the browser refuses to keep it. */
  saveProject(language, value) {
    return write(local, project(language), value);
  }

  /** This tab's session, or, for a new tab, the last one of this browser. */
  session() {
    return { own: read(tab, SESSION), last: read(local, SESSION) };
  }

  saveSession(record) {
    write(tab, SESSION, record);
    if (record?.session) write(local, SESSION, record);
  }

  /** A session is over: no tab goes on with it. */
  dropSession(id) {
    if (read(tab, SESSION)?.session === id) write(tab, SESSION, null);
    if (read(local, SESSION)?.session === id) write(local, SESSION, null);
  }
}

/**
 * Holds the name of a session for this page's life, so that two tabs do not take it from each other.
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
