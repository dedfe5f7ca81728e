// Types that several modules share. The protocol's types are in messages.js, which is generated from its schema.

/** @typedef {string | Uint8Array<ArrayBuffer>} Content of a file: a text, or bytes that are not */
/** @typedef {{path: string, content: Content}} File */
/** @typedef {{path: string, content: string}} TextFile */
/** @typedef {{path: string, size: number, mtime_ms: number, folder: boolean}} Entry of a workspace */
/** @typedef {{path: string, line: number, column?: number | null}} Place in a file; from 1 */
/** @typedef {{cols: number, rows: number}} Size of a terminal */

/** @typedef {{name: string, title: string, entry?: string, args?: string[], files: TextFile[]}} Sample */
/**
 * As in the answer of `/api/languages`.
 * @typedef {{name: string, title: string, version?: string, status: 'ready' | 'building' | 'pending' | 'failed', message?: string, entry: string,
 *   extensions?: string[], editor?: string, indent?: number, repl?: boolean, samples: Sample[]}} Language
 */
/** @typedef {{file_bytes?: number}} ServerLimits of `/api/languages` */

/** @typedef {{entry: string, args: string[], env: string, stdin: string | null, mode: 'tty' | 'pipe', sample: string | null, touched: boolean}} Options of a project */
/** @typedef {Content | string[] | boolean | null} Value of a record of a project: a file's content or an option */
/** @typedef {{value: Value, version: number | null}} Versioned */
/** @typedef {{name: string, value: Value, base: number | null}} Change of a record; `base` is the version known to the writer */
/** @typedef {{open: string[], active: string | null}} View of a project: what is open in the page */
/** @typedef {{digest: string, json: string}} History of a file: the undo history of a text with this digest */

/** @typedef {{kind: 'run' | 'shell', shown: boolean, consumed: number, unacked?: {offset: number, bytes: string, eof: boolean}}} KnownChannel */
/**
 * A session's state, for a later page.
 * @typedef {{client: string, language: string, nonce?: string, session?: string, token?: string, next?: number,
 *   channels?: Record<string, KnownChannel>}} SessionRecord
 */

/** @typedef {{setTimeout(act: () => void, ms: number): number, clearTimeout(id: number | null | undefined): void}} Timers */
/**
 * The interfaces that the core needs: app/browser.js, and a model of it in tests.
 * @typedef {{connect(url: string, protocol: string): WebSocket, url(session: string | null): string,
 *   fetch(url: URL, options: RequestInit): Promise<Response>, api(path: string): URL, timers: Timers, random(): number, now(): number,
 *   fill?: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>}} World
 */
/**
 * Listener of a connection; `retryInMs` null: it stops; `since`: when the unanswered ping was sent, null: it was answered.
 * @typedef {{onOpen(): void, onText(text: string): void, onBinary(data: ArrayBuffer): void, onSilent(since: number | null): void,
 *   onDown(down: {code: number, retryInMs: number | null}): void}} Hearer
 */
/**
 * The interface of a session for its channels.
 * @typedef {{readonly up: boolean, readonly control: boolean, timers: Timers, send(message: import('./messages.js').ClientMessage): void,
 *   sendInput(channel: number, offset: number, payload: Uint8Array): void}} Port
 */
export {};
