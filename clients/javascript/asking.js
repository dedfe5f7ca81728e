// Requests to a server: what answers them is taken for a CodeRunner only where it is whole, and has the form that is documented.
import { randomId } from '../../static/core/bytes.js';
import { CodecError, encodeRequest } from '../../static/core/codec.js';
import { messageOf } from '../../static/core/faults.js';
import { eventsOf } from '../../static/core/stream.js';
import { Failed, foreign, refusal, silent } from './patience.js';
import { Refused, asRefused } from './refused.js';

const ANSWER_MS = 30_000; // for an answer that is there at once, as a whole
const SILENCE_MS = 60_000; // for the next piece of one that may take as long as a program runs; events have a comment every ten seconds
const UPLOAD = 16; // bytes a millisecond at least with which a request is sent: before that nothing can come
const MOST = 256 * 1024 * 1024; // bytes of an answer, far more than a run's may have
const MOST_OF_ERROR = 1024 * 1024;
export const [JSON_TYPE, EVENTS] = ['application/json', 'text/event-stream'];
// What Node says of an address that cannot be: a name that is not known, a certificate that is not trusted.
const NEVER = /^(ENOTFOUND|ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_)/;

/** A request, to be sent once or more often. @typedef {{method: string, headers: Record<string, string>, body: string | undefined}} Sent */
/** @typedef {Record<string, unknown>} Fields of an object in JSON */
/** @typedef {(found: Fields) => boolean} Form whether an answer is what was asked for */
/** The forms of answers. @satisfies {Record<string, Form>} */
export const FORMS = {
  languages: ({ languages }) => Array.isArray(languages),
  run: ({ id, exit }) => typeof id === 'string' && exit !== undefined,
  batch: ({ id, cases }) => typeof id === 'string' && Array.isArray(cases),
  health: ({ status, version }) => typeof status === 'string' && typeof version === 'string',
};
const isProblem = (/** @type {Fields} */ { detail, code }) => typeof detail === 'string' && typeof code === 'string';
const hasId = (/** @type {Fields} */ { id }) => typeof id === 'string';
/** Of the events that are used; a newer server may have others. @type {Record<string, Form | undefined>} */
const EVENT_FORMS = { batch: hasId, case: ({ index }) => Number.isInteger(index), problem: isProblem, done: hasId };

export class Server {
  #base;
  #key;
  reached = false; // whether a CodeRunner has answered

  constructor(/** @type {URL} */ base, /** @type {string | null} */ key) {
    this.#base = base;
    this.#key = key;
  }

  /** Its address. */
  get place() {
    return this.#base.href;
  }

  /** @param {string} method @param {object | undefined} document @returns {Sent} throws Refused for what no request can have */
  request(method, document, accept = JSON_TYPE) {
    /** @type {Record<string, string>} */ const headers = { Accept: accept };
    if (this.#key !== null) headers.Authorization = `Bearer ${this.#key}`;
    // By its key the server knows the request when it comes again.
    if (document) Object.assign(headers, { 'Content-Type': JSON_TYPE, 'Idempotency-Key': randomId() });
    return { method, headers, body: document && encoded(document) };
  }

  /** One attempt. `again`: whether it has failed before. @param {string} path @param {Sent} sent @param {Form} form @returns {Promise<any>} throws Failed, Refused */
  async ask(path, sent, form, again = false) {
    const wait = new Silence(sent);
    try {
      const answer = await this.#answer(path, sent, wait, again);
      const found = objectOf(await textOf(answer, wait, MOST));
      if (!found || !form(found)) throw foreign(this.place, answer.status);
      this.reached = true;
      return found;
    } catch (error) {
      throw this.#lost(error, wait);
    } finally {
      wait.over();
    }
  }

  /** The events of one attempt. @param {string} path @param {Sent} sent @returns {AsyncGenerator<{event: string, data: any}, void, void>} throws as `ask` */
  async* events(path, sent, again = false) {
    const wait = new Silence(sent);
    try {
      const answer = await this.#answer(path, sent, wait, again);
      let first = true;
      for await (const { event, data } of eventsOf(heard(answer, wait))) {
        const form = EVENT_FORMS[event];
        const found = form && objectOf(data);
        if (form ? !found || !form(found) : first) throw foreign(this.place, answer.status);
        this.reached = true;
        first = false;
        if (found) yield { event, data: found };
      }
    } catch (error) {
      throw this.#lost(error, wait);
    } finally {
      wait.over();
    }
    throw silent(this.place, 'the connection ended');
  }

  /** Whether a CodeRunner answers now. */
  async answers() {
    return this.ask('api/health', this.request('GET', undefined), FORMS.health).then(() => true, (error) => error instanceof Refused || error.heldMs !== null);
  }

  /** The answer, if it is of the type that was asked for. @param {string} path @param {Sent} sent @param {Silence} wait @param {boolean} again @returns {Promise<Response>} throws Failed, Refused */
  async #answer(path, sent, wait, again) {
    const answer = await fetch(new URL(path, this.#base), { ...sent, signal: wait.signal });
    if (answer.ok && answer.headers.get('Content-Type')?.includes(sent.headers.Accept)) return answer;
    const told = answer.ok ? null : objectOf(await textOf(answer, wait, MOST_OF_ERROR));
    if (!told || !isProblem(told)) {
      answer.body?.cancel().catch(() => {});
      throw foreign(this.place, answer.status);
    }
    this.reached = true;
    throw refusal(new Refused(String(told.detail), String(told.code), told.retryable === true), again && answer.status === 429);
  }

  /** The error of an attempt. @returns {Failed | Refused} */
  #lost(/** @type {unknown} */ error, /** @type {Silence} */ wait) {
    if (error instanceof Failed || error instanceof Refused) return error;
    if (wait.why) return silent(this.place, wait.why);
    const { code, message } = /** @type {{code?: unknown, message?: unknown}} */ ((error instanceof Error && error.cause) || {});
    return silent(this.place, String(message ?? messageOf(error)), NEVER.test(String(code)));
  }
}

/** Ends a request for which nothing comes. */
class Silence {
  #abort = new AbortController();
  #ms;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  why = ''; // it was ended

  constructor(/** @type {Sent} */ { method, body }) {
    this.#ms = method === 'GET' ? null : SILENCE_MS;
    this.#in((this.#ms ?? ANSWER_MS) + (body?.length ?? 0) / UPLOAD);
  }

  get signal() {
    return this.#abort.signal;
  }

  /** Something has come. */
  heard() {
    if (this.#ms !== null) this.#in(this.#ms);
  }

  over() {
    clearTimeout(this.#timer);
    this.#abort.abort(); // what is left of the answer is not needed
  }

  #in(/** @type {number} */ ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.why = `nothing has come for ${Math.round(ms / 1000)} seconds`;
      this.#abort.abort();
    }, ms);
  }
}

/** The body of an answer; whatever comes of it is noted. @param {Response} answer @param {Silence} wait @returns {ReadableStream<Uint8Array>} */
function heard({ body }, wait) {
  const noted = new TransformStream({
    transform(/** @type {Uint8Array} */ piece, to) {
      wait.heard();
      to.enqueue(piece);
    },
  });
  return (body ?? new Blob().stream()).pipeThrough(noted);
}

/** The text of an answer, of which at most so many bytes are read. @param {Response} answer @param {Silence} wait @param {number} most @returns {Promise<string>} */
async function textOf(answer, wait, most) {
  const decoder = new TextDecoder();
  const reader = heard(answer, wait).getReader();
  let [text, size] = ['', 0];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.length;
    if (size > most) throw new RangeError('the answer is too long');
    text += decoder.decode(value, { stream: true });
  }
}

/** @returns {Fields | null} null if the text is no object in JSON */
function objectOf(/** @type {string} */ text) {
  try {
    const found = JSON.parse(text);
    return typeof found === 'object' && !Array.isArray(found) ? found : null;
  } catch {
    return null;
  }
}

/** @returns {string} throws Refused for what no request can have */
function encoded(/** @type {object} */ document) {
  try {
    return encodeRequest(document);
  } catch (error) {
    // What is circular, for example.
    throw error instanceof CodecError ? asRefused(error) : new Refused(`the request cannot be sent: ${messageOf(error)}`, 'bad_message');
  }
}
