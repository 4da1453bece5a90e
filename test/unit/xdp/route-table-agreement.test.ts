/** The kernel's route table (bpf/route-table.h, compiled for this machine) and the agent's do the same to the last byte. */
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RouteKey } from '../../../src/agent/dataplane/xdp/route-key.ts'
import * as layout from '../../../src/agent/dataplane/xdp/route-layout.ts'
import { packContent } from '../../../src/agent/dataplane/xdp/route-value.ts'
import { type CProgram, compileC, compiler } from '../../support/c-program.ts'
import { integers, runSeeds, seeded } from '../../support/random.ts'
import { client, content, setClient, testSecret, testTable } from '../../support/routes.ts'
import { testIf } from '../../support/skip.ts'

const it = suite('route table in C and TypeScript')
const missing = compiler() === null ? 'needs a C compiler' : undefined
const HEADERS = join(import.meta.dirname, '../../../src/agent/dataplane/xdp/bpf')
const OPERATION_BYTES = 40
const ANSWER_BYTES = 40
const KIND = { GET: 0, INSERT: 1, UPDATE: 2, STATE: 3, REMOVE: 4, PROMOTE: 5, TOUCH: 6 } as const

let harness: CProgram | null = null
it.before(() => {
  if (missing === undefined) harness = compileC(join(import.meta.dirname, 'route-table-harness.c'), HEADERS)
})
it.after(() => harness?.[Symbol.dispose]())

interface Operation {
  readonly kind: number
  readonly table: 0 | 1
  readonly n: number
  readonly service: number
  readonly now: number
  readonly value: bigint
}

const encode = (
  family: layout.Family,
  buckets: readonly [number, number],
  secret: BigUint64Array,
  operations: readonly Operation[],
): Uint8Array => {
  const out = new DataView(new ArrayBuffer(16 + 64 + operations.length * OPERATION_BYTES))
  ;[family, ...buckets, operations.length].forEach((word, i) => {
    out.setUint32(4 * i, word, true)
  })
  secret.forEach((word, i) => {
    out.setBigUint64(16 + 8 * i, word, true)
  })
  operations.forEach(({ kind, table, n, service, now, value }, i) => {
    const at = 80 + i * OPERATION_BYTES
    const { words, port } = client(family, n)
    out.setUint32(at, kind, true)
    out.setUint32(at + 4, table, true)
    words.forEach((word, j) => {
      out.setUint32(at + 8 + 4 * j, word)
    })
    out.setUint16(at + 24, port)
    out.setUint16(at + 26, service, true)
    out.setUint32(at + 28, now, true)
    out.setBigUint64(at + 32, value, true)
  })
  return new Uint8Array(out.buffer)
}

const CHOICES = [
  KIND.INSERT,
  KIND.INSERT,
  KIND.INSERT,
  KIND.UPDATE,
  KIND.STATE,
  KIND.REMOVE,
  KIND.PROMOTE,
  KIND.TOUCH,
  KIND.GET,
]

const randomOperations = (seed: number, count: number, clients: number): Operation[] => {
  const below = integers(seeded(seed))
  return Array.from({ length: count }, (_, i): Operation => {
    const kind = CHOICES[below(CHOICES.length)]
    const other = {
      state: below(7),
      generation: below(64),
      mapped: below(2) === 1,
      pinned: below(12) === 0,
    }
    const value = kind === KIND.STATE ? BigInt(below(7)) : packContent(content(i + 1, other))
    const table = kind === KIND.PROMOTE ? 1 : (below(2) as 0 | 1)
    return { kind, table, n: below(clients), service: 1 + below(2) * 0xfffe, now: below(0x10000), value }
  })
}

interface Sides {
  readonly bytes: readonly [Uint8Array, Uint8Array]
  readonly answers: readonly { result: number; first: number; second: number; victim: bigint }[]
}

/** The same operations by the agent's table. */
const runHere = (
  family: layout.Family,
  buckets: readonly [number, number],
  secret: BigUint64Array,
  operations: readonly Operation[],
): Sides => {
  const sides = [testTable(family, buckets[0], secret), testTable(family, buckets[1], secret)] as const
  const answers = operations.map(({ kind, table: index, n, service, now, value }) => {
    const { table } = sides[index]
    const key = setClient(table.newKey(), family, n, service)
    let result = 0
    let victim: RouteKey | undefined
    const [identifier, high] = [Number(value & 0xffffffffn), Number(value >> 32n)]
    const given = {
      identifier,
      state: (high >>> 27) & 7,
      generation: (high >>> 20) & 63,
      mapped: (value & layout.MAPPED) !== 0n,
      pinned: (value & layout.PINNED) !== 0n,
    }
    if (kind === KIND.INSERT || kind === KIND.PROMOTE) {
      const to = setClient(sides[0].table.newKey(), family, n, service)
      const insertion =
        kind === KIND.INSERT ? table.insert(key, given, now) : table.promote(key, sides[0].table, to, now)
      result = insertion.result
      victim = insertion.victim?.key
    } else if (kind === KIND.UPDATE) result = table.update(key, given)
    else if (kind === KIND.STATE) result = table.setState(key, Number(value))
    else if (kind === KIND.REMOVE)
      result = table.remove(key) === null ? layout.ROUTE_RESULT.MISSING : layout.ROUTE_RESULT.REMOVED
    else if (kind === KIND.TOUCH) touch(table.buckets, key, now)
    return { result, first: key.first, second: key.second, victim: victim?.word ?? 0n }
  })
  return { bytes: [sides[0].bytes, sides[1].bytes], answers }
}

/** What only packets do. */
const touch = (
  buckets: ReturnType<typeof testTable>['table']['buckets'],
  key: RouteKey,
  now: number,
): void => {
  for (const bucket of [buckets.at(key.first), buckets.at(key.second)])
    for (let entry = bucket; entry < bucket + 8; entry += 2) {
      const value = buckets.read(entry, key)
      if (value === 0n) continue
      buckets.exchangeValue(entry, value, (value & ~layout.STAMP_MASK) | (BigInt(now) << 32n))
      return
    }
}

const compare = (
  family: layout.Family,
  buckets: readonly [number, number],
  secret: BigUint64Array,
  operations: readonly Operation[],
): Sides => {
  const { status, output } = harness!.run([], encode(family, buckets, secret, operations))
  assert.is(status, 0)
  const here = runHere(family, buckets, secret, operations)
  const there = new DataView(output.buffer, output.byteOffset, output.byteLength)
  here.answers.forEach((answer, i) => {
    const at = i * ANSWER_BYTES
    const theirs = {
      result: there.getUint32(at, true),
      first: there.getUint32(at + 4, true),
      second: there.getUint32(at + 8, true),
      victim: there.getBigUint64(at + 24, true),
    }
    assert.equal(answer, theirs, `operation ${i}: ${JSON.stringify({ ...operations[i], value: '' })}`)
  })
  const memory = output.subarray(operations.length * ANSWER_BYTES)
  assert.ok(Buffer.concat(here.bytes).equals(memory), 'the tables differ')
  return here
}

for (const family of [4, 6] as const) {
  testIf(missing, it, `same buckets for random clients and secrets, IPv${family}`, () => {
    for (const seed of runSeeds()) {
      const below = integers(seeded(seed))
      const operations = Array.from({ length: 5000 }, (): Operation => {
        const service = 1 + below(0xffff)
        return { kind: KIND.GET, table: 0, n: below(1 << 24), service, now: 0, value: 0n }
      })
      compare(family, [2 + below(layout.ROUTE_MAX_BUCKETS >> 10), 2], testSecret(seed), operations)
    }
  })

  testIf(missing, it, `same answers, same memory after any operations, IPv${family}`, () => {
    const seen = new Set<number>()
    for (const seed of runSeeds())
      for (const [buckets, clients] of [
        [2, 14],
        [5, 40],
        [64, 500],
      ] as const) {
        const { answers } = compare(
          family,
          [buckets, 3],
          testSecret(seed),
          randomOperations(seed, 4000, clients),
        )
        for (const { result } of answers) seen.add(result)
      }
    const { BUSY: _, ...others } = layout.ROUTE_RESULT
    for (const [name, result] of Object.entries(others)) assert.ok(seen.has(result), `${name} never came`)
  })
}

testIf(missing, it, 'addresses of IPv6 with one fingerprint are told apart', () => {
  const secret = testSecret()
  secret[7] = 0n
  compare(6, [6, 3], secret, randomOperations(9, 4000, 30))
})

testIf(missing, it, 'same layout', () => {
  const { output } = harness!.run(['layout'])
  const c = JSON.parse(output.toString()) as Record<string, string>
  const ours: Record<string, number | bigint> = {
    ROUTE_MAGIC: layout.ROUTE_MAGIC,
    ROUTE_VERSION: layout.ROUTE_VERSION,
    ROUTE_WAYS: layout.ROUTE_WAYS,
    ROUTE_HEADER_BYTES: layout.ROUTE_HEADER_BYTES,
    ROUTE_MAX_BUCKETS: layout.ROUTE_MAX_BUCKETS,
    ROUTE_MAX_AGE: layout.ROUTE_MAX_AGE,
    ROUTE_TRIES: layout.ROUTE_TRIES,
    ROUTE_USED: layout.USED,
    ROUTE_PINNED: layout.PINNED,
    ROUTE_MAPPED: layout.MAPPED,
    ROUTE_STATE_MASK: layout.STATE_MASK,
    ROUTE_GENERATION_MASK: layout.GENERATION_MASK,
    ROUTE_REUSE_ONE: layout.REUSE_ONE,
    ROUTE_REUSE_MASK: layout.REUSE_MASK,
    ROUTE_STAMP_MASK: layout.STAMP_MASK,
    ROUTE_IDENTIFIER_MASK: layout.IDENTIFIER_MASK,
    ROUTE_CONTENT_MASK: layout.CONTENT_MASK,
    ROUTE_OWNER_MASK: layout.OWNER_MASK,
    'sizeof(struct route_entry)': layout.ROUTE_ENTRY_BYTES,
    'sizeof(struct route_bucket)': layout.bucketBytes(4),
    'sizeof(struct route_bucket6)': layout.bucketBytes(6),
    'offsetof(struct route_entry, key)': layout.ROUTE_ENTRY.key,
    'offsetof(struct route_entry, value)': layout.ROUTE_ENTRY.value,
    'offsetof(struct route_bucket6, clients)': layout.ROUTE_CLIENTS_OFFSET,
    'sizeof(struct route_secret)': 8 * layout.ROUTE_SECRET_WORDS,
    ROUTE_RESULTS: layout.ROUTE_RESULTS,
    end: 0,
  }
  for (const [name, value] of Object.entries(layout.ROUTE_RESULT)) ours[`ROUTE_${name}`] = value
  for (const [name, value] of Object.entries(layout.ROUTE_STATE)) ours[`ROUTE_${name}`] = value
  for (const [name, value] of Object.entries(layout.ROUTE_HEADER))
    ours[`offsetof(struct route_header, ${snake(name)})`] = value
  assert.equal(c, Object.fromEntries(Object.entries(ours).map(([name, value]) => [name, String(value)])))
})

const snake = (name: string): string => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)

it.run()
