/**
 * SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012) with a 64-bit result, on pairs of
 * 32-bit integers, because BigInt allocates. It authenticates mapping headers (R-E8).
 *
 * @param key 128 bits as four little-endian words, as `new Uint32Array(16 bytes)` gives on a little-endian machine
 * @param out receives the tag: `out[0]` its low, `out[1]` its high word (the official byte order is little-endian)
 */
export function sipHash24(
  key: Uint32Array,
  buf: Uint8Array,
  off: number,
  len: number,
  out: Uint32Array,
): void {
  let v0l = key[0] ^ 0x70736575
  let v0h = key[1] ^ 0x736f6d65
  let v1l = key[2] ^ 0x6e646f6d
  let v1h = key[3] ^ 0x646f7261
  let v2l = key[0] ^ 0x6e657261
  let v2h = key[1] ^ 0x6c796765
  let v3l = key[2] ^ 0x79746573
  let v3h = key[3] ^ 0x74656462

  // Blocks 0..whole-1 are full, block `whole` is the rest with the length on top, block whole+1 is finalisation.
  const whole = len >>> 3
  for (let block = 0; block <= whole + 1; block++) {
    let ml = 0
    let mh = 0
    let rounds = 2
    const at = off + block * 8
    if (block < whole) {
      ml = buf[at] | (buf[at + 1] << 8) | (buf[at + 2] << 16) | (buf[at + 3] << 24)
      mh = buf[at + 4] | (buf[at + 5] << 8) | (buf[at + 6] << 16) | (buf[at + 7] << 24)
    } else if (block === whole) {
      const rest = len & 7
      for (let i = 0; i < rest && i < 4; i++) ml |= buf[at + i] << (i * 8)
      for (let i = 4; i < rest; i++) mh |= buf[at + i] << ((i - 4) * 8)
      mh |= (len & 0xff) << 24
    } else {
      v2l ^= 0xff
      rounds = 4
    }
    v3l ^= ml
    v3h ^= mh
    for (let round = 0; round < rounds; round++) {
      let low = (v0l + v1l) | 0
      v0h = (v0h + v1h + (low >>> 0 < v0l >>> 0 ? 1 : 0)) | 0
      v0l = low
      let high = (v1h << 13) | (v1l >>> 19)
      v1l = ((v1l << 13) | (v1h >>> 19)) ^ v0l
      v1h = high ^ v0h
      low = v0h
      v0h = v0l
      v0l = low
      low = (v2l + v3l) | 0
      v2h = (v2h + v3h + (low >>> 0 < v2l >>> 0 ? 1 : 0)) | 0
      v2l = low
      high = (v3h << 16) | (v3l >>> 16)
      v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l
      v3h = high ^ v2h
      low = (v0l + v3l) | 0
      v0h = (v0h + v3h + (low >>> 0 < v0l >>> 0 ? 1 : 0)) | 0
      v0l = low
      high = (v3h << 21) | (v3l >>> 11)
      v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l
      v3h = high ^ v0h
      low = (v2l + v1l) | 0
      v2h = (v2h + v1h + (low >>> 0 < v2l >>> 0 ? 1 : 0)) | 0
      v2l = low
      high = (v1h << 17) | (v1l >>> 15)
      v1l = ((v1l << 17) | (v1h >>> 15)) ^ v2l
      v1h = high ^ v2h
      low = v2h
      v2h = v2l
      v2l = low
    }
    v0l ^= ml
    v0h ^= mh
  }
  out[0] = v0l ^ v1l ^ v2l ^ v3l
  out[1] = v0h ^ v1h ^ v2h ^ v3h
}
