/** The kernel's tags of mapping headers, and its hash of a flow (bpf/siphash.h, compiled for this machine), are the agent's. */
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { halfSipHash13 } from '../../../src/agent/dataplane/half-siphash.ts'
import { createMappingHeader, encodeMappingHeader } from '../../../src/agent/dataplane/mapping-header.ts'
import { type CProgram, compileC, compiler } from '../../support/c-program.ts'
import { integers, seeded } from '../../support/random.ts'
import { testIf } from '../../support/skip.ts'

const it = suite('tags in C and TypeScript')
const missing = compiler() === null ? 'needs a C compiler' : undefined
const HEADERS = join(import.meta.dirname, '../../../src/agent/dataplane/xdp/bpf')
const RECORD_BYTES = 112
const RECORDS = 400

let harness: CProgram | null = null
it.before(() => {
  if (missing === undefined) harness = compileC(join(import.meta.dirname, 'mapping-tag-harness.c'), HEADERS)
})
it.after(() => harness?.[Symbol.dispose]())

testIf(missing, it, 'of headers of both families, whole and damaged', () => {
  const below = integers(seeded(7))
  const word = (): number => below(0x10000) * 0x10000 + below(0x10000)
  const input = new Uint8Array(RECORDS * RECORD_BYTES)
  const view = new DataView(input.buffer)
  const expected: { tag: bigint; right: boolean; hash: number }[] = []
  for (let n = 0; n < RECORDS; n++) {
    const at = n * RECORD_BYTES
    const key = Uint32Array.from({ length: 4 }, word)
    key.forEach((part, i) => {
      view.setUint32(at + 4 * i, part, true)
    })
    const six = n % 2 === 1
    const header = createMappingHeader()
    Object.assign(header, {
      ...{ kind: 1 + below(8), keyNumber: below(256), epoch: word(), sequence: word(), timeS: word() },
      ...{
        identifier: word(),
        protocol: 6,
        hostIndex: below(256),
        innerLength: below(2) * 60,
        ports: word(),
      },
    })
    for (const address of [header.client, header.vip, header.node])
      address.set(six ? Uint32Array.from({ length: 4 }, word) : [0, 0, 0xffff, word()])
    const length = encodeMappingHeader(header, input, at + 16, key)
    const tag = view.getBigUint64(at + 16 + length - 8, true)
    const right = n % 3 !== 0
    if (!right) input[at + 16 + below(length)] ^= 1 << below(8)
    view.setUint32(at + 104, six ? 1 : 0, true)
    const words = Uint32Array.from({ length: 10 }, (_, i) => view.getUint32(at + 16 + 4 * i, true))
    expected.push({ tag, right, hash: halfSipHash13(key[0], key[2], words, 0, 10) })
  }
  const { status, output } = harness!.run([], input)
  assert.is(status, 0)
  assert.is(output.length, RECORDS * 24)
  expected.forEach(({ tag, right, hash }, n) => {
    if (right) assert.is(output.readBigUInt64LE(n * 24), tag, `tag ${n}`)
    assert.is(output.readBigUInt64LE(n * 24 + 8), right ? 1n : 0n, `header ${n} is right`)
    assert.is(output.readBigUInt64LE(n * 24 + 16), BigInt(hash), `hash ${n}`)
  })
})

it.run()
