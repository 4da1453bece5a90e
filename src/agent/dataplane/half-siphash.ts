/**
 * HalfSipHash-1-3 with a 32-bit result over `count` words (each four little-endian bytes of the definition): the
 * hash of the tables. Keyed with a secret, so that nobody outside can aim many flows at one bucket.
 *
 * @param k0 @param k1 the 64-bit key
 * @returns an unsigned 32-bit number
 */
export function halfSipHash13(
  k0: number,
  k1: number,
  words: Uint32Array,
  offset: number,
  count: number,
): number {
  let v0 = k0 | 0
  let v1 = k1 | 0
  let v2 = k0 ^ 0x6c796765
  let v3 = k1 ^ 0x74656462
  // Word `count` is the length in bytes, the two after it only finish (d = 3: one round below, two more).
  for (let i = 0; i <= count + 3; i++) {
    let m = 0
    if (i < count) m = words[offset + i] | 0
    else if (i === count) m = (count << 26) | 0
    else if (i === count + 1) v2 ^= 0xff
    v3 ^= m
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= m
  }
  return (v1 ^ v3) >>> 0
}
