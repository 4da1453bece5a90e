/**
 * The kernel's look-ups (bpf/mapping-table.h, compiled for this machine) between all that the agent (mapping-table.ts) stores: any access of a
 * look-up may come after any store, seeded. A look-up never answers a client that the identifier did not stand for meanwhile, and never misses
 * a mapping that is there all the time. Each control breaks one rule, of the kernel's side or of the order of the agent's stores, and must fail.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as layout from '../../../src/agent/dataplane/xdp/mapping-layout.ts'
import {
  bucketBytes,
  type Family,
  ROUTE_HEADER_BYTES,
} from '../../../src/agent/dataplane/xdp/route-layout.ts'
import { type CProgram, compileC, compiler } from '../../support/c-program.ts'
import { encodeReplay, randomSteps, type Step, type Stored } from '../../support/mapping-replay.ts'
import { mappingContent, mappingKey, testMappings } from '../../support/mappings.ts'
import { integers, runSeeds, seeded } from '../../support/random.ts'
import { testSecret } from '../../support/routes.ts'
import { testIf } from '../../support/skip.ts'

const it = suite('mapping table in C and TypeScript')
const missing = compiler() === null ? 'needs a C compiler' : undefined
const HEADERS = join(import.meta.dirname, '../../../src/agent/dataplane/xdp/bpf')
const HARNESS = join(import.meta.dirname, 'mapping-table-harness.c')
const FAMILIES: readonly Family[] = [4, 6]
const IDENTIFIERS = 22
const STEPS = 3000
const RUNS = 100

let harness: CProgram | null = null
it.before(() => {
  if (missing === undefined) harness = compileC(HARNESS, HEADERS)
})
it.after(() => harness?.[Symbol.dispose]())

interface Seen {
  readonly wrong: number
  readonly lost: number
  readonly found: number
  readonly missed: number
}

type Spoil = (step: Step, family: Family) => readonly Stored[]

const replay = (program: CProgram, family: Family, seed: number, spoil?: Spoil): Seen => {
  const buckets = 4 + (seed % 2)
  const steps = randomSteps(family, seed, buckets, IDENTIFIERS, STEPS).map(step =>
    spoil === undefined ? step : { ...step, stores: spoil(step, family) },
  )
  const empty = new Uint8Array(ROUTE_HEADER_BYTES + buckets * bucketBytes(family))
  const input = encodeReplay(family, buckets, 2 * IDENTIFIERS, empty, steps)
  const { output } = program.run(['replay', String(seed), String(RUNS)], input)
  const counts = [...output.toString().matchAll(/(\w+) (\d+)/g)].map(([, name, count]) => [
    name,
    Number(count),
  ])
  return Object.fromEntries(counts) as Seen
}

/** Of a control: in three runs, since one may be lucky. */
const faults = (program: CProgram, family: Family, spoil?: Spoil): number =>
  [1, 2, 3]
    .map(seed => replay(program, family, seed, spoil))
    .reduce((sum, { wrong, lost }) => sum + wrong + lost, 0)

for (const family of FAMILIES) {
  testIf(missing, it, `no look-up is wrong, whenever the agent stores, IPv${family}`, () => {
    for (const seed of runSeeds()) {
      const seen = replay(harness!, family, seed)
      assert.equal([seen.wrong, seen.lost], [0, 0], JSON.stringify(seen))
      assert.ok(seen.found > STEPS && seen.missed > STEPS, `too tame: ${JSON.stringify(seen)}`)
    }
  })

  testIf(missing, it, `what the agent wrote is what the kernel reads, IPv${family}`, () => {
    for (const seed of runSeeds()) {
      const below = integers(seeded(seed))
      const secret = testSecret(seed)
      const buckets = 2 + below(40)
      const { bytes, table } = testMappings(family, buckets, secret)
      const keys = 128
      const key = (n: number) => mappingKey(n >> 1, n & 1)
      for (let i = 0; i < 300; i++) {
        const { tunnel, identifier, generation } = key(below(keys))
        if (below(4) === 0) table.remove(tunnel, identifier)
        else
          table.put({ tunnel, identifier, generation }, mappingContent(family, below(0xffff)), below(0x10000))
      }
      const { status, output } = harness!.run(
        ['find'],
        encodeReplay(family, buckets, keys, bytes, [], secret),
      )
      assert.is(status, 0)
      const view = new DataView(output.buffer, output.byteOffset, output.byteLength)
      let hits = 0
      for (let n = 0; n < keys; n++) {
        const at = n * 32
        const expected = table.get(key(n))
        const word = view.getBigUint64(at, true)
        assert.is(word !== 0n, expected !== null, `key ${n}`)
        if (expected === null) continue
        hits++
        const theirs = {
          ...key(n),
          client: Uint32Array.from(
            family === 6
              ? [8, 12, 16, 20].map(offset => view.getUint32(at + offset))
              : [0, 0, 0xffff, view.getUint32(at + 24)],
          ),
          port: view.getUint16(at + 28),
          service: view.getUint16(at + 30, true),
          stamp: Number((word >> 32n) & 0xffffn),
        }
        assert.equal(theirs, expected)
      }
      assert.ok(hits > 5)
    }
  })
}

testIf(missing, it, 'same layout', () => {
  const { output } = harness!.run(['layout'])
  const high = (shift: number): number => 32 + shift
  const stamp = BigInt(layout.HIGH_STAMP_MASK) << 32n
  const reuse = 15n << BigInt(high(layout.HIGH_REUSE_SHIFT))
  assert.equal(JSON.parse(output.toString()), {
    MAPPING_MAGIC: String(layout.MAPPING_MAGIC),
    MAPPING_VERSION: String(layout.MAPPING_VERSION),
    MAPPING_STAMP_SHIFT: String(high(0)),
    MAPPING_TUNNEL_SHIFT: String(high(layout.HIGH_TUNNEL_SHIFT)),
    MAPPING_GENERATION_SHIFT: String(high(layout.HIGH_GENERATION_SHIFT)),
    MAPPING_STAMP_MASK: String(stamp),
    MAPPING_REUSE_MASK: String(reuse),
    MAPPING_KEY_MASK: String(BigInt.asUintN(64, ~(stamp | reuse))),
    MAPPING_PORT_SHIFT: '32',
    MAPPING_SERVICE_SHIFT: '48',
    'sizeof(struct route_entry)': String(layout.ENTRY_HALVES * 4),
    'offsetof(struct route_bucket6, clients)': String(layout.CLIENT_HALVES * 4),
    'offsetof(struct route_entry, value)': '8',
    end: '0',
  })
})

/** A word that holds a key, and not what belongs to one. */
const isKey = ({ at }: Stored, family: Family): boolean => at % 2 === 0 && (family === 4 || at % 16 < 8)
const isFree = (stored: Stored, family: Family): boolean =>
  isKey(stored, family) && (stored.value & 0xffffffffn) === 0n

const keysFirst: Spoil = ({ stores }, family) => {
  const out: Stored[] = []
  let held: Stored[] = []
  for (const stored of stores)
    if (!isKey(stored, family)) held.push(stored)
    else {
      out.push(stored, ...(isFree(stored, family) ? [] : held))
      if (!isFree(stored, family)) held = []
    }
  return [...out, ...held]
}

/** What is taken out and filled again in the same call. */
const refilled = (stores: readonly Stored[], index: number): boolean =>
  stores.some(({ at }, later) => later > index && at === stores[index].at)

const CONTROLS: readonly { readonly name: string; readonly spoil: Spoil }[] = [
  { name: 'a key is stored before what belongs to it', spoil: keysFirst },
  {
    name: 'a key stays while what belongs to it changes',
    spoil: ({ stores }, family) =>
      stores.filter((stored, i) => !isFree(stored, family) || !refilled(stores, i)),
  },
  {
    name: 'a mapping that moves is taken out before its copy is there',
    spoil: ({ stores }, family) => [
      ...stores.filter(stored => isFree(stored, family)),
      ...stores.filter(stored => !isFree(stored, family)),
    ],
  },
  {
    name: 'owners of a slot are not told apart',
    spoil: ({ stores }, family) =>
      stores.map(stored =>
        isKey(stored, family) ? { ...stored, value: stored.value & ~(15n << 60n) } : stored,
      ),
  },
]

for (const { name, spoil } of CONTROLS)
  for (const family of FAMILIES)
    testIf(missing, it, `control: fails when ${name}, IPv${family}`, () => {
      assert.ok(faults(harness!, family, spoil) > 0)
    })

const BROKEN: readonly { readonly name: string; readonly from: string; readonly to: string }[] = [
  { name: 'the key is not read again', from: 'if (!((before ^ after) & ~MAPPING_STAMP_MASK))', to: '' },
  {
    name: 'the second bucket is looked at first',
    from: '*b = route_bucket_at(t, k.first), *c = route_bucket_at(t, k.second)',
    to: '*c = route_bucket_at(t, k.first), *b = route_bucket_at(t, k.second)',
  },
  {
    name: 'generations are not told apart',
    from: '(~(MAPPING_STAMP_MASK | MAPPING_REUSE_MASK))',
    to: '(~(MAPPING_STAMP_MASK | MAPPING_REUSE_MASK | 15ull << MAPPING_GENERATION_SHIFT))',
  },
  {
    name: 'tunnels are not told apart',
    from: '| (__u64)tunnel << MAPPING_TUNNEL_SHIFT |',
    to: '| (__u64)(tunnel & 254) << MAPPING_TUNNEL_SHIFT |',
  },
]
const HEADER = readFileSync(join(HEADERS, 'mapping-table.h'), 'utf8')

for (const { name, from, to } of BROKEN)
  testIf(missing, it, `control: fails when ${name}`, () => {
    assert.is(HEADER.split(from).length, 2, `stands in the header once: ${from}`)
    using program = compileC(HARNESS, HEADERS, { 'mapping-table.h': HEADER.replace(from, () => to) })
    assert.ok(faults(program, 4) > 0)
  })

it.run()
