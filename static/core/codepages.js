// Names in archives of old tools: no word about their encoding, and no UTF-8. What they are in is told by what comes
// out: letters of one script, where the wrong code page gives frames, signs and mixtures.
import { textOf } from './bytes.js';

// CP437 is the library's; that of Western Europe's Windows no browser has.
const CP850 = 'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u00ad±‗¾¶§÷¸°¨·¹³²■\u00a0';

/** By the user's language: tried first, and taken wherever it can be. @type {Record<string, string>} */
const OWN = { ja: 'shift_jis', ko: 'euc-kr', ru: 'ibm866', uk: 'ibm866', be: 'ibm866', bg: 'ibm866', 'zh-tw': 'big5', 'zh-hk': 'big5', zh: 'gbk' };

// A letter of another script beside a Latin one is a sign that a wrong page was tried.
const MIXED = /[a-z][^\u0000-\u007f]|[^\u0000-\u007f][a-z]/i;
const HAN = String.raw`\p{Script=Han}々`;
const KANA = String.raw`\p{Script=Hiragana}\u30a1-\u30fe`; // none of half a width
const WIDE = String.raw`\u3000-\u303f\uff01-\uff5e`; // their signs
const only = (/** @type {string} */ letters) => new RegExp(`^[\\u0000-\\u007f${letters}]*$`, 'u');

// Chinese in the bytes of EUC-KR is Hangul, too, by chance: of rare syllables. Korean names have one of these.
const USUAL = '가고과관구국그기나내는다대도동들등라로리마문물미보부비사상서성소수습시실아안어연영요용원유으은을의이인일자작장전정제조주지진차체초치타통트표하한해호화';

/** Others: what their texts are made of, and the first bytes of the characters that are in use. @type {[string, RegExp, RegExp][]} */
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

/** @returns {string | null} null where the bytes are none of this page */
function decoded(/** @type {string} */ page, /** @type {Uint8Array} */ bytes) {
  try {
    return new TextDecoder(page, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** The first bytes of all characters, where those above 127 are two bytes each. */
function leads(/** @type {Uint8Array} */ bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += bytes[at] < 128 ? 1 : 2) text += String.fromCharCode(bytes[at]);
  return text;
}

/**
 * What decodes the names of one archive that do not say what they are in.
 * @param {{bytes: Uint8Array, cp437: string}[]} foreign names that are no UTF-8, as they are and as CP437 @param {string} language the user's
 * @returns {(bytes: Uint8Array) => string | undefined} undefined: CP437
 */
export function decoderOf(foreign, language) {
  const whole = new Uint8Array(foreign.flatMap(({ bytes }) => [...bytes, 47]));
  const tag = language.toLowerCase();
  const own = OWN[tag] ?? OWN[tag.split('-')[0]];
  const by = (/** @type {string} */ page) => (/** @type {Uint8Array} */ bytes) => textOf(bytes) ?? decoded(page, bytes) ?? undefined;
  if (own && decoded(own, whole) !== null) return by(own);
  for (const [page, letters, first] of OTHERS) {
    const text = decoded(page, whole);
    const many = (text?.match(/[^\u0000-\u007f]/g)?.length ?? 0) > 1;
    if (text !== null && many && letters.test(text) && !MIXED.test(text) && first.test(leads(whole))) return by(page);
  }
  const western = !foreign.every(({ cp437 }) => LATIN.test(cp437)) && LATIN_850.test(cp850(whole));
  return (bytes) => textOf(bytes) ?? (western ? cp850(bytes) : undefined);
}
