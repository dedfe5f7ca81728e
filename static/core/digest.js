// A short fingerprint of a text or of bytes, to detect changes. It does not resist deliberate collisions.

/** 53 bits (cyrb53, public domain) and the length. */
// The length decides most differences at once; the prefix tells bytes from text.
export function digest(/** @type {import('./types.js').Content} */ content) {
  const text = typeof content === 'string' ? content : { length: content.length, charCodeAt: (/** @type {number} */ at) => content[at] };
  let [high, low] = [0xdeadbeef, 0x41c6ce57];
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    high = Math.imul(high ^ unit, 2654435761);
    low = Math.imul(low ^ unit, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return `${typeof content === 'string' ? '' : 'b'}${(4294967296 * (2097151 & low) + (high >>> 0)).toString(36)}.${text.length}`;
}
