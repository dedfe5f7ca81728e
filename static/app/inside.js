// What the page needs of a library that has no public interface for it: the only place where private fields are used.
// The library's version is pinned exactly (package.json). Its replacements in the DOM, for the content security policy,
// are in policy.js.

/**
 * @xterm/addon-image 0.9 puts pictures into the lines by its own decoders only. They are WebAssembly, which the policy
 * forbids ('wasm-unsafe-eval'), so the browser decodes, and what it made is handed to the add-on's storage. The add-on
 * offers no way to add a picture that is decoded (https://github.com/xtermjs/xterm.js/tree/master/addons/addon-image);
 * tests/js/inside.test.js fails where a version of it has other public members, tests/browser/test_pictures.py where it
 * has other private ones.
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
