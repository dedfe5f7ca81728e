// What is known of something that was thrown: anything may be.

/** The stable code of an error that has one, else null. @param {unknown} error */
export const codeOf = (error) => (error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null);

/** Whether it is worth trying again. @param {unknown} error */
export const retryable = (error) => error instanceof Error && 'retryable' in error && error.retryable === true;

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/** What cannot be absent at this point. @template Value @param {Value | null | undefined} value @returns {Value} */
export function present(value) {
  if (value === null || value === undefined) throw new TypeError();
  return value;
}
