// What the page needs of its libraries and they do not offer: the only place where their private fields are used. Their
// versions are pinned to the digit (package.json); the tests named here fail where a later one has other fields. The
// replacements in their sources, for the content security policy, are in scripts/bundle.mjs alone.

/**
 * xterm.js 6.0: whether a composed word is about to be sent. There is no event of it.
 * Looked at by tests/browser/test_page.py (a keyboard quicker than the terminal).
 * @param {any} term @returns {boolean}
 */
export const sendsComposition = (term) => term._core._compositionHelper._isSendingComposition;

/**
 * @xterm/addon-image 0.9: pictures are put into the lines by its own decoders only, which are WebAssembly; the policy
 * forbids that, so the browser decodes, and what it made is handed to the add-on's storage.
 * Looked at by tests/browser/test_pictures.py.
 * @param {any} addon
 */
export const storageOf = (addon) => ({
  /** @returns {Map<number, {marker?: {dispose(): void}}>} by id, the oldest first */
  get kept() {
    return addon._storage._images;
  },
  /** @param {ImageBitmap} bitmap at the cursor, which goes below it */
  add: (bitmap) => addon._storage.addImage(bitmap),
  /** @param {number} id */
  drop: (id) => addon._storage._delImg(id),
});
