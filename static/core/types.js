// Shapes that several modules hand to one another. What the protocol says is in messages.js, made from its schema.

/** @typedef {string | Uint8Array} Content of a file: a text, or bytes that are no text */
/** @typedef {{path: string, content: Content}} File */
/** @typedef {{path: string, size: number, mtime_ms: number, folder: boolean}} Entry of a workspace */

/** @typedef {{name: string, title: string, entry?: string, args?: string[], files: {path: string, content: string}[]}} Sample */
/**
 * As `/api/languages` tells it.
 * @typedef {{name: string, title: string, version?: string, status: string, message?: string, entry: string, extensions?: string[],
 *   editor?: string, indent?: number, repl?: boolean, samples: Sample[]}} Language
 */

/** @typedef {{entry: string, args: string[], env: string, stdin: string | null, mode: string, sample: string | null, touched: boolean}} Options of a project */
/** @typedef {{value: any, version: number | null}} Versioned a record of a project: a file's content or an option */
/** @typedef {{name: string, value: any, base: number | null}} Change of a record; `base` is the version that the writer knows */


/** @typedef {{setTimeout(act: () => void, ms: number): any, clearTimeout(id: any): void}} Timers */
/**
 * What the core needs of its surroundings: app/browser.js, and a model of it in tests.
 * @typedef {{connect(url: string, protocol: string): any, url(session: string | null): string, fetch(url: any, options: any): Promise<Response>,
 *   api(path: string): URL, timers: Timers, random(): number, now(): number, fill?: (bytes: Uint8Array) => Uint8Array}} World
 */
/**
 * Who hears of a connection; `retryInMs` null: it stops; `since`: when a ping went out that waits for its answer, null: it came.
 * @typedef {{onOpen(): void, onText(text: string): void, onBinary(data: ArrayBuffer): void, onSilent(since: number | null): void,
 *   onDown(down: {code: number, retryInMs: number | null}): void}} Hearer
 */
export {};
