// The files of a live session over HTTP, with the permissions of the session's own user. One request at a time: the
// server takes few at once, and in this order the user's last request is done last.
import { inWords } from './problem.js';
import { texts } from './texts.js';

// Of a small request; archives take longer.
const WITHIN_MS = 30_000;
const ARCHIVE_WITHIN_MS = 300_000;
const UPLOAD = 16; // bytes a millisecond at least, of a file that is written

/** `code` as in the protocol's table, or `unreachable`. `status`: of the server's answer; 0 where none is its own. */
export class RemoteError extends Error {
  /** @param {string} code @param {string} message for users of the page @param {{retryable?: boolean, detail?: string, status?: number}} options `detail`: the server's own sentence */
  constructor(code, message, { retryable = false, detail = message, status = 0 } = {}) {
    super(message);
    this.detail = detail;
    this.name = 'RemoteError';
    this.code = code;
    this.retryable = retryable;
    this.status = status;
    this.repeated = false; // an earlier attempt was lost, and may have been done
  }
}

/** The message for a request, or the body of its answer, that failed in the browser, whose own messages are not translated. @param {unknown} error @param {boolean} over whether the session has ended */
export function unanswered(error, over = false) {
  if (over) return new RemoteError('no_session', texts.session.over);
  return new RemoteError('unreachable', error instanceof Error && error.name === 'TimeoutError' ? texts.session.slow : texts.session.unreachable, { retryable: true });
}

const json = (/** @type {Response} */ answer) => answer.json();
const blob = (/** @type {Response} */ answer) => answer.blob();
const bytes = async (/** @type {Response} */ answer) => (answer.status === 416 ? new Uint8Array() : new Uint8Array(await answer.arrayBuffer()));

const NOTHING = async () => undefined;
const listing = async (/** @type {Response} */ answer) => {
  const found = await answer.json();
  if (!Array.isArray(found?.files)) throw new TypeError('it is no list of files');
  return found;
};

/** Whether an answer is another one's than a CodeRunner's: no file comes as a page, or as JSON. @param {Response} answer @param {unknown} take */
function isForeign({ headers }, take) {
  const type = headers.get('Content-Type') ?? '';
  return type.startsWith('text/html') || ((take === bytes || take === blob) && type.startsWith('application/json'));
}

/** A path as a part of an address. In an address `..` and `.` lead elsewhere, also as `%2e`: with them, or an empty part, it would be another request. @returns {string} */
function encoded(/** @type {string} */ path) {
  const parts = path.split('/');
  if (parts.some((part) => ['', '.', '..'].includes(part))) throw new RemoteError('bad_path', texts.names.part);
  if (!path.isWellFormed()) throw new RemoteError('bad_path', texts.names.character);
  return parts.map(encodeURIComponent).join('/');
}

/** @typedef {{body?: import('./types.js').Content, headers?: Record<string, string>, within?: number, empty?: number | null}} Options of a request; `empty`: a status that means an empty answer */

/** @typedef {<Value>(attempt: () => Promise<Value>) => Promise<Value>} Patient */

export class Remote {
  #fetch;
  #url;
  #session;
  #patient;
  /** @type {Promise<unknown>} */ #last = Promise.resolve();
  #over = new AbortController();

  /**
   * @param {Pick<import('./types.js').World, 'fetch' | 'api'>} world @param {{id: string | null, token: string | null}} session
   * @param {Patient} patient has each request done, once or more often; the next one waits for it
   */
  constructor({ fetch, api }, session, patient = (attempt) => attempt()) {
    this.#fetch = fetch;
    this.#url = api;
    this.#session = session;
    this.#patient = patient;
  }

  /** The session has ended: no further requests are sent, and running ones are aborted. */
  close() {
    this.#over.abort();
  }

  /** @returns {Promise<{files: import('./types.js').Entry[], complete: boolean}>} sorted by path */
  async list() {
    return this.#ask('GET', 'files', listing);
  }

  /** @returns {Promise<Uint8Array<ArrayBuffer>>} raises `file_too_large` if it has more than `most` bytes */
  async read(/** @type {string} */ path, /** @type {number} */ most) {
    // One byte more than allowed, by which a larger file is recognised.
    const found = await this.#ask('GET', `files/${encoded(path)}`, bytes, { headers: { Range: `bytes=0-${most}` }, empty: 416 });
    if (found.length > most) throw new RemoteError('file_too_large', texts.artifacts.tooLarge(path));
    return found;
  }

  /** @returns {Promise<Uint8Array>} its beginning, of at most `most` bytes */
  async head(/** @type {string} */ path, /** @type {number} */ most) {
    return (await this.#ask('GET', `files/${encoded(path)}`, bytes, { headers: { Range: `bytes=0-${most - 1}` }, empty: 416 })).subarray(0, most);
  }

  /** @returns {Promise<Blob>} */
  async blob(/** @type {string} */ path) {
    return this.#ask('GET', `files/${encoded(path)}`, blob, { within: ARCHIVE_WITHIN_MS });
  }

  async write(/** @type {string} */ path, /** @type {import('./types.js').Content} */ body) {
    await this.#ask('PUT', `files/${encoded(path)}`, NOTHING, { body, within: Math.min(ARCHIVE_WITHIN_MS, WITHIN_MS + Math.ceil(body.length / UPLOAD)) });
  }

  /** Writes all files of a zip archive, and replaces those of the same names. */
  async unpack(/** @type {Uint8Array<ArrayBuffer>} */ archive) {
    await this.#ask('PUT', 'archive', NOTHING, { body: archive, within: ARCHIVE_WITHIN_MS });
  }

  async rename(/** @type {string} */ path, /** @type {string} */ to) {
    await this.#ask('PATCH', `files/${encoded(path)}`, NOTHING, { body: JSON.stringify({ path: to }) });
  }

  async remove(/** @type {string} */ path) {
    await this.#ask('DELETE', `files/${encoded(path)}`, NOTHING);
  }

  async makeFolder(/** @type {string} */ path) {
    await this.#ask('POST', `files/${encoded(path)}`, NOTHING, { body: JSON.stringify({ folder: true }) });
  }

  /** Keeps addresses of artifacts valid for another `ms`. @returns {Promise<{kept: boolean[], ms: number, word?: string}>} `word`, if `frame` is requested: lets a frame load a page once */
  async keep(/** @type {string[]} */ urls, frame = false) {
    return this.#ask('POST', 'views', json, { body: JSON.stringify({ urls, frame }) });
  }

  /** The whole workspace. @returns {Promise<Blob>} */
  archive(format = 'zip') {
    return this.#ask('GET', `archive?format=${format}`, blob, { within: ARCHIVE_WITHIN_MS });
  }

  /** @template Value @param {string} method @param {string} path @param {(answer: Response) => Promise<Value>} take reads the body @param {Options} options @returns {Promise<Value>} */
  #ask(method, path, take, options = {}) {
    // The next request waits for this one, also if it fails.
    const mine = this.#last.then(() => this.#patient(() => this.#request(method, path, take, options)));
    this.#last = mine.catch(() => {});
    return mine;
  }

  /** @template Value @param {string} method @param {string} path @param {(answer: Response) => Promise<Value>} take @param {Options} options @returns {Promise<Value>} */
  async #request(method, path, take, { body, headers = {}, within = WITHIN_MS, empty = null }) {
    const { id, token } = this.#session;
    let answer;
    try {
      answer = await this.#fetch(this.#url(`api/sessions/${encodeURIComponent(id ?? '')}/${path}`), {
        method, body, headers: { ...headers, Authorization: `Bearer ${token}` }, cache: 'no-store', signal: AbortSignal.any([AbortSignal.timeout(within), this.#over.signal]),
      });
      if ((answer.ok || answer.status === empty) && !isForeign(answer, take)) return await take(answer);
    } catch (error) {
      throw unanswered(error, this.#over.signal.aborted);
    }
    const told = answer.ok ? null : await answer.json().catch(() => null);
    if (typeof told?.code !== 'string' || typeof told.detail !== 'string') throw new RemoteError('internal', texts.session.answered(answer.status));
    const { code, detail, retryable } = /** @type {{code: string, detail: string, retryable?: boolean}} */ (told);
    throw new RemoteError(code, inWords({ code, message: detail }), { retryable: Boolean(retryable), detail, status: answer.status });
  }
}
