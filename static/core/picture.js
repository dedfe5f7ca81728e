// Pictures in a terminal's output: the inline images of iTerm2, `OSC 1337 ; File = key=value;… : base64 BEL`. They come
// from a program and may be malicious: everything is checked before a browser decodes it.
import { fromBase64 } from './bytes.js';
import { texts } from './texts.js';

export const MAX_BYTES = 7_000_000; // encoded; just below the longest sequence of xterm.js
export const MAX_PIXELS = 16_777_216; // 4096 by 4096
const SCREENS_HIGH = 4; // a picture is drawn at most this many screens high: each line of it is a line feed

const LENGTH = /^(auto|\d{1,6}(px|%)?)$/;

/**
 * @param data the text between `OSC 1337 ;` and its end
 * @returns {{width: string, height: string, ratio: boolean, bytes: Uint8Array<ArrayBuffer>, refused?: undefined} | {refused: string} | null} null if it is no inline picture; `refused`: why it cannot be drawn
 */
export function parsePicture(/** @type {string} */ data) {
  if (!data.startsWith('File=')) return null;
  const colon = data.indexOf(':');
  if (colon < 0 || colon > 4096) return { refused: texts.artifacts.brokenHeader };
  const fields = Object.fromEntries(data.slice(5, colon).split(';').map((field) => {
    const at = field.indexOf('=');
    return at < 0 ? [field, ''] : [field.slice(0, at), field.slice(at + 1)];
  }));
  if (fields.inline !== '1') return null; // a download, which the workspace's files provide already
  const { width = 'auto', height = 'auto' } = fields;
  if (!LENGTH.test(width) || !LENGTH.test(height)) return { refused: texts.artifacts.brokenSize };
  // Before decoding: base64 has four characters for three bytes.
  if (((data.length - colon) / 4) * 3 > MAX_BYTES) return { refused: texts.artifacts.largePicture };
  try {
    return { width, height, ratio: fields.preserveAspectRatio !== '0', bytes: fromBase64(data.slice(colon + 1)) };
  } catch {
    return { refused: texts.artifacts.noBase64 };
  }
}

/** @returns {{mime: string, width: number, height: number} | null} the size that the decoder will produce */
export function measure(/** @type {Uint8Array} */ bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  try {
    if (view.getUint32(0) === 0x89504e47) return png(view);
    if (view.getUint16(0) === 0xffd8) return jpeg(view);
    if (view.getUint32(0) === 0x47494638) return gif(view);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the data end early
  }
  return null;
}

function png(/** @type {DataView} */ view) {
  // The signature, and IHDR as the first chunk.
  if (view.getUint32(4) !== 0x0d0a1a0a || view.getUint32(12) !== 0x49484452) return null;
  return { mime: 'image/png', width: view.getUint32(16), height: view.getUint32(20) };
}

function jpeg(/** @type {DataView} */ view) {
  let at = 2;
  for (;;) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) at += 1; // a fill byte
    // A frame header (SOF), which has the size; C4, C8 and CC are other tables.
    else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { mime: 'image/jpeg', width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    // Markers without a length.
    } else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) at += 2;
    else if (marker < 0xc0 || marker >= 0xd9 && marker <= 0xda) return null;
    else at += 2 + view.getUint16(at + 2);
  }
}

/** If the first frame is larger than the screen in the header, the decoder's picture is larger as well. */
function gif(/** @type {DataView} */ view) {
  const screen = [view.getUint16(6, true), view.getUint16(8, true)];
  const flags = view.getUint8(10);
  let at = 13 + (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  // Extensions before the first frame, each a list of blocks.
  while (view.getUint8(at) === 0x21) {
    at += 2;
    while (view.getUint8(at)) at += view.getUint8(at) + 1;
    at += 1;
  }
  if (view.getUint8(at) !== 0x2c) return null;
  const frame = [1, 3].map((offset) => view.getUint16(at + offset, true) + view.getUint16(at + offset + 4, true));
  return { mime: 'image/gif', width: Math.max(screen[0], frame[0]), height: Math.max(screen[1], frame[1]) };
}

/**
 * The size to draw a picture in, in pixels. `auto` keeps its own, reduced if it does not fit the screen; a requested
 * size is never wider than the screen.
 * @param {{width: string, height: string, ratio: boolean}} asked as the sequence has them
 * @param {{width: number, height: number}} natural of the picture
 * @param {{width: number, height: number, cell: {width: number, height: number}}} screen of the terminal, in pixels
 */
export function drawnSize({ width, height, ratio }, natural, screen) {
  const length = (/** @type {string} */ text, /** @type {number} */ total, /** @type {number} */ cell) => {
    if (text === 'auto') return null;
    const value = Number.parseInt(text, 10);
    if (text.endsWith('%')) return (value * total) / 100;
    return text.endsWith('px') ? value : value * cell;
  };
  const wide = length(width, screen.width, screen.cell.width);
  const high = length(height, screen.height, screen.cell.height);
  const own = wide === null && high === null;
  const most = { width: screen.width, height: own ? screen.height - screen.cell.height : screen.height * SCREENS_HIGH }; // the prompt stays in view
  let [w, h] = [natural.width, natural.height];
  if (wide !== null || high !== null) {
    const [by, to] = [(wide ?? 0) / natural.width, (high ?? 0) / natural.height];
    // With one of the two, or the ratio kept, the picture is scaled; otherwise it is stretched.
    const scale = wide === null ? to : high === null ? by : Math.min(by, to);
    [w, h] = wide !== null && high !== null && !ratio ? [wide, high] : [natural.width * scale, natural.height * scale];
  }
  const fit = Math.min(1, most.width / w, most.height / h);
  return { width: Math.max(1, Math.floor(w * fit)), height: Math.max(1, Math.floor(h * fit)) };
}
