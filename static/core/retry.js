// When to connect again. Close codes are those of the protocol's table.

// The codes after which the server, or another one, may be reached again.
const AGAIN = new Set([1001, 1005, 1006, 1011, 1012, 1013]);
const AGAIN_AFTER_ERROR = new Set([4429, 4503]);
const FIRST_MS = 250;
const SOON = 4; // attempts; a restart of the server takes less than a second
const MAX_MS = 15_000;

/**
 * Milliseconds before attempt `attempt` (from 0): the first few soon, then longer; with jitter, so that many clients do
 * not reconnect at the same moment.
 */
function backoff(/** @type {number} */ attempt, /** @type {() => number} */ random) {
  const ceiling = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(Math.max(0, attempt + 1 - SOON), 16));
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

/**
 * The wait before the next attempt, or null if the client stops.
 * @param error the last `error` message of the connection, or null
 */
export function waitAfter(/** @type {number} */ code, /** @type {import('./messages.js').ErrorMessage | null} */ error, /** @type {number} */ attempt, /** @type {() => number} */ random) {
  if (AGAIN.has(code)) return backoff(attempt, random);
  if (!AGAIN_AFTER_ERROR.has(code) || !error?.retryable) return null;
  // Without a time the server expects no further attempt.
  if (error.retry_after_ms === undefined) return null;
  // Never earlier than the server asked for.
  return error.retry_after_ms + Math.round(random() * Math.min(1000, error.retry_after_ms / 2));
}
