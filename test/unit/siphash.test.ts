import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { halfSipHash13 } from '../../src/agent/dataplane/half-siphash.ts'
import { sipHash24 } from '../../src/agent/dataplane/siphash.ts'
import { hex } from '../support/packets.ts'

const it = suite('siphash')

const KEY = Uint32Array.of(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c)

/** Official vectors (reference implementation, vectors_sip64): key 00..0f, input 00, 01, 02 ... of each length. */
const SIP24 = new Map([
  [0, '310e0edd47db6f72'],
  [1, 'fd67dc93c539f874'],
  [2, '5a4fa9d909806c0d'],
  [3, '2d7efbd796666785'],
  [4, 'b7877127e09427cf'],
  [5, '8da699cd64557618'],
  [6, 'cee3fe586e46c9cb'],
  [7, '37d1018bf50002ab'],
  [8, '6224939a79f5f593'],
  [9, 'b0e4a90bdf82009e'],
  [15, 'e545be4961ca29a1'],
  [16, 'db9bc2577fcc2a3f'],
  [40, 'd0a704536ba93e0e'],
  [47, 'eb75095ccd986cd0'],
  [55, '9924a43cc1315724'],
  [63, '724506eb4c328a95'],
])

it('SipHash-2-4 gives the official vectors', () => {
  const out = new Uint32Array(2)
  for (const [length, expected] of SIP24) {
    const buf = Uint8Array.from({ length: length + 7 }, (_, i) => (i < 3 ? 0xee : i - 3))
    sipHash24(KEY, buf, 3, length, out)
    assert.equal(new Uint8Array(out.buffer), hex(expected), `length ${length}`)
  }
})

it('SipHash-2-4 depends on every bit of the key', () => {
  const seen = new Set<string>()
  const out = new Uint32Array(2)
  for (let bit = 0; bit < 128; bit++) {
    const key = KEY.slice()
    key[bit >> 5] ^= 1 << (bit & 31)
    sipHash24(key, new Uint8Array(20), 0, 20, out)
    seen.add(out.join())
  }
  assert.is(seen.size, 128)
})

/** HalfSipHash-1-3 vectors (as in the Linux kernel's self-test for 32-bit machines), key 00..07, whole words only. */
const HALF13 = [0x5814c896, 0x7e059ea6, 0x577999b1, 0x6b28096c, 0x8b31d501]

it('HalfSipHash-1-3 gives the published vectors', () => {
  const words = Uint32Array.of(0xdeadbeef, 0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c)
  HALF13.forEach((expected, count) => {
    assert.is(halfSipHash13(0x03020100, 0x07060504, words, 1, count), expected, `${count} words`)
  })
})

it('HalfSipHash-1-3 takes signed and unsigned keys alike', () => {
  const words = Uint32Array.of(1, 2, 3)
  assert.is(halfSipHash13(-1, -2, words, 0, 3), halfSipHash13(0xffffffff, 0xfffffffe, words, 0, 3))
})

it.run()
