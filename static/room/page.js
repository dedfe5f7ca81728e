// The elements of the wall's page.

/** @returns {any} the element of this id; tests/js/markup.test.js checks that there is one */
export const at = (/** @type {string} */ id) => document.getElementById(id);
