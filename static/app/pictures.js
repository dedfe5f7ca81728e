// Pictures that a program draws into its terminal. The add-on of xterm.js keeps them in the lines and draws them; its
// decoders are not used, as they are WebAssembly, which the page's policy forbids: the browser's own decode them.
import { MAX_PIXELS, drawnSize, measure, parsePicture } from '../core/picture.js';
import { texts } from '../core/texts.js';
import { ImageAddon } from '../dist/xterm.js';
import { storageOf } from './inside.js';

const OSC = 1337;
const MAX_KEPT = 500; // pictures of a terminal, scrolled away ones included
const STORAGE_MB = 64; // their pixels
const DECODE_MS = 3000; // the terminal waits this long for one
const CELL = { width: 7, height: 14 }; // the add-on's own for a terminal that is not shown

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

  /** How many are kept: for tests. */
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

  /** True, at once or later: what follows in the output waits until the picture is there. */
  #take(/** @type {string} */ data) {
    const picture = parsePicture(data);
    if (picture === null) return false;
    if (picture.refused !== undefined) return this.#refuse(picture.refused);
    const natural = measure(picture.bytes);
    if (!natural) return this.#refuse(texts.artifacts.noPicture);
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
        decoding.then((tooLate) => tooLate.close());
        return this.#refuse(texts.artifacts.slow);
      }
      this.#makeRoom();
      this.#storage.add(bitmap);
      this.#drawn(picture.bytes.length);
    } catch {
      return this.#refuse(texts.artifacts.broken);
    } finally {
      clearTimeout(timer);
      decoding.catch(() => {}); // what fails later still is nobody's
    }
    return true;
  }

  #makeRoom() {
    for (const [id, { marker }] of this.#kept) {
      if (this.#kept.size < MAX_KEPT) return;
      marker?.dispose();
      this.#storage.drop(id);
    }
  }
}
