// When to connect again. Close codes are those of the protocol's table.

const AGAIN = new Set([1001, 1005, 1006, 1011, 1012, 1013]);
const AGAIN_AFTER_ERROR = new Set([4429, 4503]);
const FIRST_MS = 250;
const SOON = 4; // tries; a restart of the server is over within a second
const MAX_MS = 15_000;

/**
 * Milliseconds before try `attempt` (from 0): the first few soon, then it grows; with jitter, so that a crowd does
 * not come back at once.
 */
function backoff(/** @type {number} */ attempt, /** @type {() => number} */ random) {
  const ceiling = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(Math.max(0, attempt + 1 - SOON), 16));
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

/**
 * The wait before the next try, or null where the client stops.
 * @param error the last `error` message of the connection, or null
 */
export function waitAfter(/** @type {number} */ code, /** @type {import('./messages.js').ErrorMessage | null} */ error, /** @type {number} */ attempt, /** @type {() => number} */ random) {
  if (AGAIN.has(code)) return backoff(attempt, random);
  if (!AGAIN_AFTER_ERROR.has(code) || !error?.retryable) return null;
  if (error.retry_after_ms === undefined) return null;
  return error.retry_after_ms + Math.round(random() * Math.min(1000, error.retry_after_ms / 2));
}
