// What is known about a thrown value, which can be anything.

/** The stable code of an error that has one, otherwise null. @param {unknown} error */
export const codeOf = (error) => (error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null);

/** Whether trying again may help. @param {unknown} error */
export const retryable = (error) => error instanceof Error && 'retryable' in error && error.retryable === true;

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/** A value that cannot be absent at this point. @template Value @param {Value | null | undefined} value @returns {Value} */
export function present(value) {
  if (value === null || value === undefined) throw new TypeError();
  return value;
}
