/** What the agent's half of a mapping table stores, in order: for test/unit/xdp/mapping-table-harness.c. */
import { eachMapping, MappingSweep } from '../../src/agent/dataplane/xdp/mapping-sweep.ts'
import type { Family } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { mappingContent, mappingKey, testMappings } from './mappings.ts'
import { integers, seeded } from './random.ts'
import { testSecret } from './routes.ts'

/** Into a word of the buckets. */
export interface Stored {
  readonly at: number
  readonly value: bigint
}

/** What one call of the agent stored, and what it changed: key number to content number, 0 for none. */
export interface Step {
  readonly changes: ReadonlyMap<number, number>
  readonly stores: readonly Stored[]
}

const STORE = 0
const CHANGING = 1
const DONE = 2
const GENERATIONS = 2

/** Of key `n`: each identifier in each of two generations is one. */
const keyOf = (n: number) => mappingKey(Math.floor(n / GENERATIONS), n % GENERATIONS)

/** Runs `act` with all that is stored by Atomics.store noted. */
const recorded = (act: () => void): Stored[] => {
  const stores: Stored[] = []
  const { store } = Atomics
  const note = (words: BigUint64Array, at: number, value: bigint): bigint => {
    stores.push({ at, value })
    return store(words, at, value)
  }
  Atomics.store = note as typeof Atomics.store
  try {
    act()
  } finally {
    Atomics.store = store
  }
  return stores
}

/** Random calls on an empty table. */
export const randomSteps = (
  family: Family,
  seed: number,
  buckets: number,
  identifiers: number,
  count: number,
): Step[] => {
  const below = integers(seeded(seed))
  const { table } = testMappings(family, buckets)
  const sweep = new MappingSweep(table)
  const generations = new Uint8Array(256)
  const keys = new Map(
    Array.from({ length: identifiers * GENERATIONS }, (_, n) => {
      const { tunnel, generation, identifier } = keyOf(n)
      return [`${tunnel} ${generation} ${identifier}`, n]
    }),
  )
  /** All that is there: key number to content number. */
  const listed = (): Map<number, number> =>
    new Map(
      [...eachMapping(table)].map(({ tunnel, generation, identifier, service }) => [
        keys.get(`${tunnel} ${generation} ${identifier}`)!,
        service,
      ]),
    )
  let before = listed()
  return Array.from({ length: count }, (_, now): Step => {
    const key = keyOf(below(identifiers * GENERATIONS))
    const stores = recorded(() => {
      const kind = below(32)
      if (kind === 0) {
        generations[below(2) === 0 ? 1 : 255] = below(GENERATIONS)
        const rules = {
          generations,
          shortest: 20,
          lifetime: () => 40,
          recent: -1,
          expired: () => {},
          used: () => {},
        }
        sweep.slice(1, now, rules)
      } else if (kind < 11) table.remove(key.tunnel, key.identifier)
      else table.put(key, mappingContent(family, 1 + below(0x3fff)), now)
    })
    const after = listed()
    const changes = new Map<number, number>()
    for (const n of new Set([...before.keys(), ...after.keys()]))
      if (before.get(n) !== after.get(n)) changes.set(n, after.get(n) ?? 0)
    before = after
    return { changes, stores }
  })
}

/** For the harness: the table's memory is empty unless given. */
export const encodeReplay = (
  family: Family,
  buckets: number,
  keys: number,
  memory: Uint8Array,
  steps: readonly Step[] = [],
  secret: BigUint64Array = testSecret(),
): Uint8Array => {
  const events = steps.flatMap(({ changes, stores }) => [
    ...[...changes].map(([n, value]) => [CHANGING, n, BigInt(value)] as const),
    ...stores.map(({ at, value }) => [STORE, at, value] as const),
    ...[...changes].map(([n, value]) => [DONE, n, BigInt(value)] as const),
  ])
  const out = new DataView(new ArrayBuffer(80 + keys * 8 + memory.length + events.length * 16))
  for (const [i, word] of [family, buckets, keys, events.length].entries()) out.setUint32(4 * i, word, true)
  for (const [i, word] of secret.entries()) out.setBigUint64(16 + 8 * i, word, true)
  for (let n = 0; n < keys; n++) {
    const { tunnel, generation, identifier } = keyOf(n)
    out.setUint32(80 + 8 * n, identifier)
    out.setUint8(84 + 8 * n, tunnel)
    out.setUint8(85 + 8 * n, generation)
  }
  const bytes = new Uint8Array(out.buffer)
  let at = 80 + keys * 8
  bytes.set(memory, at)
  at += memory.length
  for (const [kind, where, value] of events) {
    out.setUint32(at, kind, true)
    out.setUint32(at + 4, where, true)
    out.setBigUint64(at + 8, value, true)
    at += 16
  }
  return bytes
}
