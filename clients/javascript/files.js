// The files of a session.
import { textOf } from '../../static/core/bytes.js';
import { RemoteError } from '../../static/core/remote.js';
import { checked } from './content.js';
import { Failed, LATER, Patience, RECONNECT_MS } from './patience.js';
import { Refused, UNREACHABLE, refusingLater } from './refused.js';

const MOST_BYTES = 64 * 1024 * 1024; // of a file that is read

/** @typedef {import('./content.js').Content} Content of a file */
/** @typedef {{path: string, size: number, mtime_ms: number, folder: boolean}} Entry of a workspace */
/** @typedef {import('../../static/core/remote.js').Remote} Remote */

/** The files of a session, with the permissions of its user. All methods throw Refused, with the server's reason in `code`. */
export class Workspace {
  #remote;

  constructor(/** @type {Remote} */ remote) {
    this.#remote = remote;
  }

  /** @returns {Promise<Entry[]>} sorted by path; throws Refused also if there are too many to list */
  async list() {
    const { files, complete } = await refusingLater(this.#remote.list());
    if (!complete) throw new Refused('the session has too many files to be listed', 'too_many_files');
    return files;
  }

  /** @returns {Promise<Uint8Array>} at most 64 MiB */
  async read(/** @type {string} */ path) {
    return refusingLater(this.#remote.read(path, MOST_BYTES));
  }

  /** @returns {Promise<string>} Throws TypeError if it is not UTF-8. */
  async text(/** @type {string} */ path) {
    const text = textOf(await this.read(path));
    if (text === null) throw new TypeError(`${path} is not UTF-8`);
    return text;
  }

  async write(/** @type {string} */ path, /** @type {Content} */ content) {
    await refusingLater(this.#remote.write(path, checked(content, path)));
  }

  async rename(/** @type {string} */ path, /** @type {string} */ to) {
    await refusingLater(this.#remote.rename(path, to).catch(async (error) => {
      // The first of two attempts may have been done.
      const moved = isRepeated(error, ['no_file', 'file_exists']) && (await this.list()).map((one) => one.path);
      if (!moved || !moved.includes(to) || moved.includes(path)) throw error;
    }));
  }

  async remove(/** @type {string} */ path) {
    await refusingLater(this.#remote.remove(path).catch((error) => {
      if (!isRepeated(error, ['no_file'])) throw error;
    }));
  }
}

/** @param {unknown} error @param {string[]} codes */
const isRepeated = (error, codes) => error instanceof RemoteError && error.repeated && codes.includes(error.code);

/** How a session's requests are repeated: as any other. @param {import('./patience.js').Asked} server @returns {import('../../static/core/remote.js').Patient} */
export const patiently = (server) => async (attempt) => {
  let lost = false; // an attempt of which nobody knows whether it was done
  for (const patience = new Patience(server); ;) {
    try {
      return await attempt();
    } catch (error) {
      const why = failed(error);
      if (error instanceof RemoteError) error.repeated = lost;
      lost ||= why instanceof Failed && why.heldMs === null;
      await patience.wait(why);
    }
  }
};

/** An error of a request as Failed, if it is to be repeated. @returns {unknown} */
function failed(/** @type {unknown} */ error) {
  if (!(error instanceof RemoteError)) return error;
  const { code, detail, status, retryable } = error;
  const refused = new Refused(detail, code, retryable);
  if (!status && [UNREACHABLE, 'internal'].includes(code)) return new Failed(refused);
  // Also of a server that has restarted, and has not found the container yet.
  return LATER.includes(status) && retryable ? new Failed(refused, { heldMs: RECONNECT_MS }) : error;
}
