// Pictures that a program draws into its terminal. xterm.js's add-on stores and draws them; its decoders are
// WebAssembly, which the page's policy forbids, so the browser decodes them.
import { MAX_PIXELS, drawnSize, measure, parsePicture } from '../core/picture.js';
import { texts } from '../core/texts.js';
import { ImageAddon } from '../dist/xterm.js';
import { storageOf } from './inside.js';

const OSC = 1337;
const MAX_KEPT = 500; // pictures of a terminal, including those that are scrolled away
const STORAGE_MB = 64; // their pixels
const DECODE_MS = 3000; // that the terminal waits for one
const CELL = { width: 7, height: 14 }; // pixels, if the terminal is not shown; as the add-on assumes

/** @typedef {Extract<ReturnType<typeof parsePicture>, {bytes: Uint8Array}>} Drawable */

export class Pictures {
  #addon = new ImageAddon({ sixelSupport: false, iipSupport: false, pixelLimit: MAX_PIXELS, storageLimit: STORAGE_MB });
  #storage = storageOf(this.#addon);
  #refused;
  #drawn;

  /**
   * @param {import('@xterm/xterm').Terminal} term
   * @param {(why: string) => void} refused called where a picture is not drawn
   * @param {(bytes: number) => void} drawn called with the size of one that is
   */
  constructor(term, refused, drawn) {
    this.#refused = refused;
    this.#drawn = drawn;
    this.term = term;
    term.loadAddon(this.#addon);
    term.parser.registerOscHandler(OSC, (data) => this.#take(data));
  }

  /** How many are kept, for tests. */
  get count() {
    return this.#kept.size;
  }

  get #kept() {
    return this.#storage.kept;
  }

  get #screen() {
    const { cols, rows, element } = this.term;
    const box = element?.querySelector('.xterm-screen')?.getBoundingClientRect();
    const cell = box && box.width > 0 ? { width: box.width / cols, height: box.height / rows } : CELL;
    return { cell, width: cell.width * cols, height: cell.height * rows };
  }

  /** Handles an escape sequence: true, at once or later. Output after it waits until the picture is drawn. */
  #take(/** @type {string} */ data) {
    const picture = parsePicture(data);
    // Not a picture of this kind: other handlers may take it.
    if (picture === null) return false;
    if (picture.refused !== undefined) return this.#refuse(picture.refused);
    const natural = measure(picture.bytes);
    if (!natural) return this.#refuse(texts.artifacts.noPicture);
    // Checked by the header, before a picture of a few kilobytes becomes gigabytes of pixels.
    if (!natural.width || !natural.height || natural.width * natural.height > MAX_PIXELS) return this.#refuse(texts.artifacts.manyPixels);
    return this.#draw(picture, natural);
  }

  #refuse(/** @type {string} */ why) {
    this.#refused(why);
    return true;
  }

  async #draw(/** @type {Drawable} */ picture, /** @type {NonNullable<ReturnType<typeof measure>>} */ natural) {
    const { width, height } = drawnSize(picture, natural, this.#screen);
    const decoding = createImageBitmap(new Blob([picture.bytes], { type: natural.mime }), {
      resizeWidth: width, resizeHeight: height, resizeQuality: 'high',
    });
    /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
    /** @type {Promise<null>} */ const late = new Promise((resolve) => { timer = setTimeout(resolve, DECODE_MS, null); });
    try {
      const bitmap = await Promise.race([decoding, late]);
      if (!bitmap) {
        // It may still arrive, and its memory must be freed.
        decoding.then((tooLate) => tooLate.close());
        return this.#refuse(texts.artifacts.slow);
      }
      this.#makeRoom();
      this.#storage.add(bitmap);
      // After it is stored, so that a failure does not hide the saved file.
      this.#drawn(picture.bytes.length);
    } catch {
      return this.#refuse(texts.artifacts.broken);
    } finally {
      clearTimeout(timer);
      decoding.catch(() => {}); // a later failure has no consequence
    }
    return true;
  }

  #makeRoom() {
    // The oldest first, until there is room for one.
    for (const [id, { marker }] of this.#kept) {
      if (this.#kept.size < MAX_KEPT) return;
      marker?.dispose();
      this.#storage.drop(id);
    }
  }
}
