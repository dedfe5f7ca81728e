// Shapes that several modules hand to one another. What the protocol says is in messages.js, made from its schema.

/** @typedef {string | Uint8Array<ArrayBuffer>} Content of a file: a text, or bytes that are no text */
/** @typedef {{path: string, content: Content}} File */
/** @typedef {{path: string, content: string}} TextFile */
/** @typedef {{path: string, size: number, mtime_ms: number, folder: boolean}} Entry of a workspace */
/** @typedef {{path: string, line: number, column?: number | null}} Place in a file; from 1 */
/** @typedef {{cols: number, rows: number}} Size of a terminal */

/** @typedef {{name: string, title: string, entry?: string, args?: string[], files: TextFile[]}} Sample */
/**
 * As `/api/languages` tells it.
 * @typedef {{name: string, title: string, version?: string, status: 'ready' | 'building' | 'pending' | 'failed', message?: string, entry: string,
 *   extensions?: string[], editor?: string, indent?: number, repl?: boolean, samples: Sample[]}} Language
 */
/** @typedef {{file_bytes?: number}} ServerLimits of `/api/languages` */

/** @typedef {{entry: string, args: string[], env: string, stdin: string | null, mode: 'tty' | 'pipe', sample: string | null, touched: boolean}} Options of a project */
/** @typedef {Content | string[] | boolean | null} Value of a record of a project: a file's content or an option */
/** @typedef {{value: Value, version: number | null}} Versioned */
/** @typedef {{name: string, value: Value, base: number | null}} Change of a record; `base` is the version that the writer knows */
/** @typedef {{open: string[], active: string | null}} View of a project: what is open in the page */
/** @typedef {{digest: string, json: string}} History of a file: what can be undone in a text of this digest */

/** @typedef {{kind: 'run' | 'shell', shown: boolean, consumed: number, unacked?: {offset: number, bytes: string, eof: boolean}}} KnownChannel */
/**
 * Of a session, for a later page.
 * @typedef {{client: string, language: string, nonce?: string, session?: string, token?: string, next?: number,
 *   channels?: Record<string, KnownChannel>}} SessionRecord
 */

/** @typedef {{setTimeout(act: () => void, ms: number): number, clearTimeout(id: number | null | undefined): void}} Timers */
/**
 * What the core needs of its surroundings: app/browser.js, and a model of it in tests.
 * @typedef {{connect(url: string, protocol: string): WebSocket, url(session: string | null): string,
 *   fetch(url: URL, options: RequestInit): Promise<Response>, api(path: string): URL, timers: Timers, random(): number, now(): number,
 *   fill?: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>}} World
 */
/**
 * Who hears of a connection; `retryInMs` null: it stops; `since`: when a ping went out that waits for its answer, null: it came.
 * @typedef {{onOpen(): void, onText(text: string): void, onBinary(data: ArrayBuffer): void, onSilent(since: number | null): void,
 *   onDown(down: {code: number, retryInMs: number | null}): void}} Hearer
 */
/**
 * A session as its channels see it.
 * @typedef {{readonly up: boolean, readonly control: boolean, timers: Timers, send(message: import('./messages.js').ClientMessage): void,
 *   sendInput(channel: number, offset: number, payload: Uint8Array): void}} Port
 */
export {};
