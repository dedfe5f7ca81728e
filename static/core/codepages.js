// Names in archives of old tools, which neither say their encoding nor use UTF-8. It is recognised by the result:
// letters of one script, where the wrong code page gives box drawing, signs and mixtures.
import { textOf } from './bytes.js';

// CP437 is in the library; no browser has CP850, that of Western Europe's DOS and Windows consoles.
const CP850 = 'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u00ad±‗¾¶§÷¸°¨·¹³²■\u00a0';

/** By the user's language: tried first, and used if the bytes are valid in it. @type {Record<string, string>} */
const OWN = { ja: 'shift_jis', ko: 'euc-kr', ru: 'ibm866', uk: 'ibm866', be: 'ibm866', bg: 'ibm866', 'zh-tw': 'big5', 'zh-hk': 'big5', zh: 'gbk' };

// A letter of another script beside a Latin one shows that the code page is wrong.
const MIXED = /[a-z][^\u0000-\u007f]|[^\u0000-\u007f][a-z]/i;
const HAN = String.raw`\p{Script=Han}々`;
const KANA = String.raw`\p{Script=Hiragana}\u30a1-\u30fe`; // without half-width forms
const WIDE = String.raw`\u3000-\u303f\uff01-\uff5e`; // their punctuation
const only = (/** @type {string} */ letters) => new RegExp(`^[\\u0000-\\u007f${letters}]*$`, 'u');

// Chinese bytes are also valid Hangul in EUC-KR, of rare syllables. Korean names contain at least one of these common
// ones.
const USUAL = '가고과관구국그기나내는다대도동들등라로리마문물미보부비사상서성소수습시실아안어연영요용원유으은을의이인일자작장전정제조주지진차체초치타통트표하한해호화';

/** Others: the characters of their texts, and the first bytes of the characters in common use. @type {[string, RegExp, RegExp][]} */
const OTHERS = [
  ['shift_jis', only(HAN + KANA + WIDE), /^[\u0000-\u007f\u0081-\u0083\u0088-\u0098]*$/],
  ['euc-kr', new RegExp(`^(?=[^]*[${USUAL}])[\\u0000-\\u007f\\p{Script=Hangul}]*$`, 'u'), /^[\u0000-\u007f\u00b0-\u00c8]*$/],
  ['gbk', only(HAN + WIDE), /^[\u0000-\u007f\u00a1-\u00a3\u00b0-\u00f7]*$/],
  ['big5', only(HAN + WIDE), /^[\u0000-\u007f\u00a1\u00a4-\u00c6]*$/],
  ['ibm866', only(String.raw`\p{Script=Cyrillic}№`), /^[^]*$/],
];
const LATIN = only(String.raw`\p{Script=Latin}\p{M}ªº°²·«»½¼`);
const LATIN_850 = only(String.raw`\p{Script=Latin}\p{M}ªº°²³¹·«»½¼¾×´¨§`);

const cp850 = (/** @type {Uint8Array} */ bytes) => Array.from(bytes, (byte) => (byte < 128 ? String.fromCharCode(byte) : CP850[byte - 128])).join('');

/** @returns {string | null} null if the bytes are invalid in this code page */
function decoded(/** @type {string} */ page, /** @type {Uint8Array} */ bytes) {
  try {
    return new TextDecoder(page, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** The first bytes of all characters, if those above 127 have two bytes each. */
function leads(/** @type {Uint8Array} */ bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += bytes[at] < 128 ? 1 : 2) text += String.fromCharCode(bytes[at]);
  return text;
}

/**
 * A decoder for the names of one archive that do not say their encoding.
 * @param {{bytes: Uint8Array, cp437: string}[]} foreign names that are not UTF-8, as bytes and as CP437 @param {string} language the user's
 * @returns {(bytes: Uint8Array) => string | undefined} undefined: CP437
 */
export function decoderOf(foreign, language) {
  // All names together: one archive has one encoding, and more text makes the decision safer.
  const whole = new Uint8Array(foreign.flatMap(({ bytes }) => [...bytes, 47]));
  const tag = language.toLowerCase();
  const own = OWN[tag] ?? OWN[tag.split('-')[0]];
  const by = (/** @type {string} */ page) => (/** @type {Uint8Array} */ bytes) => textOf(bytes) ?? decoded(page, bytes) ?? undefined;
  if (own && decoded(own, whole) !== null) return by(own);
  for (const [page, letters, first] of OTHERS) {
    const text = decoded(page, whole);
    // A single character is too little to decide by.
    const many = (text?.match(/[^\u0000-\u007f]/g)?.length ?? 0) > 1;
    if (text !== null && many && letters.test(text) && !MIXED.test(text) && first.test(leads(whole))) return by(page);
  }
  const western = !foreign.every(({ cp437 }) => LATIN.test(cp437)) && LATIN_850.test(cp850(whole));
  return (bytes) => textOf(bytes) ?? (western ? cp850(bytes) : undefined);
}
