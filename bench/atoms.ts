/**
 * What the atom manager costs: atoms and queries a second, memory, bytes on the wire by the number of copies; with root also a query to
 * another node in a lab, and the CPU time of forwarders for a connection with and without atoms.
 *   bench/atoms.ts [--rounds 5] [--seconds 4]
 */
import { parseArgs } from 'node:util'
import { decodeDam, encodeDam } from '../src/dam/codec.ts'
import { Dam } from '../src/dam/dam.ts'
import { ATOM_KIND, FULL, type Level } from '../src/dam/types.ts'
import { Lab } from '../src/lab/lab.ts'
import { missingRoot } from '../test/support/skip.ts'
import { measureQueries } from './lib/atom-queries.ts'
import { benchName, builtBinary, pinSelf, VIP_SHUNT } from './lib/setup.ts'
import { median, short } from './lib/stats.ts'
import { ACK_BYTES, AROUND_BYTES, FRAME_BYTES } from './lib/wire.ts'
import { wrk } from './lib/wrk.ts'

const MILLION = 1_000_000
const MEMBERS = ['f1', 'f2', 'f3', 'f4']
/** Connections that begin, or end, between two flushes (4 ms): 10,000 a second. */
const AT_ONCE = 40

const out = (text: string): void => void process.stdout.write(`${text}\n`)

const memberOf = (name: string, i: number) => ({ member: name, incarnation: 1, hash: i * 0x9e3779b1 })
const members = MEMBERS.map(memberOf)

const newDam = (name: string, capacity: number, send: (to: string, bytes: Uint8Array) => void): Dam => {
  const self = { member: name, incarnation: 1 }
  const dam = new Dam(
    {
      ...{ self, capacity, sharedKey: [1, 2] as const, tableKey: [3, 4] as const },
      ...{ deadMs: 65_000, cacheMs: 60_000, syncMs: 10_000, queryMs: 60, aheadMs: 600_000 },
    },
    { send: (to, message) => send(to, encodeDam(message, self)), claimed: () => {} },
  )
  dam.members(members)
  for (let i = 0; i < 40; i++) dam.step(0)
  return dam
}

const scratch = new Uint32Array(10)
const keyOf = (i: number): Uint32Array => {
  scratch[2] = scratch[6] = 0xffff
  scratch[3] = 0x0a000000 + i
  scratch[7] = 0xc6336401
  scratch[8] = 0x9c400050
  scratch[9] = ((ATOM_KIND.flow << 24) | 6) >>> 0
  return scratch
}

/** A million connections of one member, then each looked up. */
const table = (level: Level): void => {
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  const dam = newDam('f1', MILLION, () => {})
  const wallMs = Date.now()
  let startMs = performance.now()
  for (let i = 0; i < MILLION; i++) {
    dam.put(keyOf(i), 7, level, wallMs, i / 1000)
    if (i % AT_ONCE === 0) dam.flush(0)
  }
  const putsPerS = (MILLION * 1000) / (performance.now() - startMs)
  startMs = performance.now()
  let found = 0
  for (let i = 0; i < MILLION; i++)
    dam.query(keyOf((i * 7_919) % MILLION), 0, atom => {
      if (atom !== null) found++
    })
  const queriesPerS = (MILLION * 1000) / (performance.now() - startMs)
  if (found !== MILLION) throw new Error(`${found} of ${MILLION} found`)
  const rss = (process.memoryUsage().rss - before) / MILLION
  out(
    `copies ${level}: ${short(putsPerS / 1000)} k puts/s, ${short(queriesPerS / 1000)} k local queries/s, ${short(dam.table.bytes / MILLION)} bytes an atom (resident ${short(rss)})`,
  )
}

/** Frames of a turn to one member leave in one write. */
const wire = (level: Level): void => {
  const dams = new Map<string, Dam>()
  let [bytes, writes] = [0, 0]
  const queue: (() => void)[] = []
  for (const name of MEMBERS) {
    let turn = new Set<string>()
    dams.set(
      name,
      newDam(name, 65_536, (to, message) => {
        bytes += message.length + FRAME_BYTES
        if (!turn.has(to)) {
          writes++
          turn.add(to)
          queue.push(() => {
            turn = new Set()
          })
        }
        queue.push(() => {
          dams.get(to)!.receive(name, decodeDam(message, { member: name, incarnation: 1 }), Date.now(), 0)
        })
      }),
    )
  }
  const settle = (): void => {
    for (const dam of dams.values()) dam.flush(0)
    while (queue.length > 0) queue.shift()!()
  }
  settle()
  ;[bytes, writes] = [0, 0]
  const connections = AT_ONCE * 250
  const owner = dams.get('f1')!
  for (let i = 0; i < connections; i++) {
    owner.put(keyOf(i), 7, level, Date.now(), 0)
    if (i % AT_ONCE === AT_ONCE - 1) settle()
  }
  for (let i = 0; i < connections; i++) {
    owner.end(keyOf(i), Date.now(), 0)
    if (i % AT_ONCE === AT_ONCE - 1) settle()
  }
  const around = writes * (AROUND_BYTES + ACK_BYTES)
  out(
    `copies ${level === FULL ? 'full' : level} of ${MEMBERS.length} members, ${AT_ONCE} connections a turn: ${short(bytes / connections)} bytes of frames a connection, ${short((bytes + around) / connections)} with all that is around them`,
  )
}

const queries = async (): Promise<void> => {
  const count = 20_000
  const { p50, p99, longest } = await measureQueries(count)
  out(
    `query to another agent in a lab: p50 ${short(p50)} ms, p99 ${short(p99)} ms, longest ${short(longest)} ms (${count}, one at a time)`,
  )
}

/** Two services of one lab, in turns: with one copy at f2, and with none. */
const connections = async (rounds: number, seconds: number): Promise<void> => {
  await pinSelf()
  const lab = await Lab.up({
    ...{ name: benchName(), combine: 'fc', forwarders: 2, hosts: 2, clients: rounds + 1 },
    binary: builtBinary(),
    services: [
      { name: 'one', vip: VIP_SHUNT, port: 80, protocol: 'tcp' },
      { name: 'none', vip: VIP_SHUNT, port: 81, protocol: 'tcp' },
    ],
    configure: config => {
      for (const service of config.services!)
        if (service.name === 'none') service.sessions = { copies: 'none' }
    },
  })
  try {
    await lab.setForwarders(VIP_SHUNT, [lab.place('f1').address!])
    const us: Record<number, Record<'f1' | 'f2', number[]>> = {
      80: { f1: [], f2: [] },
      81: { f1: [], f2: [] },
    }
    for (const port of [80, 81]) await wrk(lab, lab.client(rounds + 1), `http://${VIP_SHUNT}:${port}/`, 32, 2)
    for (let round = 0; round < rounds; round++)
      for (const port of [80, 81]) {
        const before = ['f1', 'f2'].map(name => lab.cpuUsageUs(name) ?? 0)
        const result = await wrk(lab, lab.client(round + 1), `http://${VIP_SHUNT}:${port}/`, 32, seconds)
        const used = ['f1', 'f2'].map((name, i) => (lab.cpuUsageUs(name) ?? 0) - before[i]!)
        us[port]!.f1.push(used[0]! / result.connections)
        us[port]!.f2.push(used[1]! / result.connections)
      }
    for (const [port, what] of [
      [80, 'one copy'],
      [81, 'none'],
    ] as const) {
      const { f1, f2 } = us[port]!
      out(
        `${what}: CPU of f1 ${short(median(f1))} us a connection, of f2 that has the copies ${short(median(f2))} us (medians of ${rounds})`,
      )
    }
  } finally {
    await lab.down()
  }
}

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '4' } },
})
for (const level of [0, 1]) table(level)
for (const level of [0, 1, 2, FULL]) wire(level)
const why = missingRoot()
if (why !== undefined) out(`nothing was measured in a lab: ${why}`)
else {
  await queries()
  await connections(Number(values.rounds), Number(values.seconds))
}
