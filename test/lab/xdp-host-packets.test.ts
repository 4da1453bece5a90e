import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import { buildPacket, type PacketShape, TCP, UDP, withHeaderChecksum } from '../support/dataplane-case.ts'
import { mutate, mutationSources } from '../support/dataplane-mutations.ts'
import { CLIENT, FAMILIES, type Family, TUNNEL, VIP } from '../support/dataplane-world.ts'
import { buildFrame, mac, packetOffset } from '../support/ethernet.ts'
import { type HostCase, hostCases, OTHER_TUNNEL, OWN, tunnelled } from '../support/host-cases.ts'
import { restoredFrame } from '../support/host-model.ts'
import { addressWords, FLAG, join } from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { ROLE, TUNNELS, XdpHostLab } from '../support/xdp-host-lab.ts'

const it = suite('xdp/host')
const noBpf = missingBpf()
let lab: XdpHostLab

it.before(() => {
  if (noBpf === undefined) lab = new XdpHostLab()
})
it.after(() => lab?.close())

/** As the programs count time: bpf/config.h, with its tick_shift. */
const tickNow = (): number => Number((process.hrtime.bigint() >> 30n) & 0xffffn)

const keyOf = ({ mapping }: HostCase) => {
  const { index, generation } = TUNNELS[mapping!.tunnel]
  return { tunnel: index, generation: (generation + 16 - mapping!.age) % 16, identifier: mapping!.identifier }
}

/** Runs with the case's mapping in place. */
const withMapping = <T>(one: HostCase, run: () => T): T => {
  const { mapping, family } = one
  if (mapping === null) return run()
  const key = keyOf(one)
  const { client, port, service } = mapping
  lab.mappings[family].put(key, { client: addressWords(client), port, service }, 0)
  try {
    return run()
  } finally {
    lab.mappings[family].remove(key.tunnel, key.identifier)
  }
}

const check = (one: HostCase, program?: string): void => {
  lab.resetCounters()
  const { verdict, data } = withMapping(one, () => lab.run(one.frame, program))
  const counted = lab.counted()
  const what = `${one.name}: verdict ${verdict}, ${JSON.stringify(counted)}`
  assert.equal(counted, { [one.reason]: 1 }, what)
  assert.is(verdict, XDP.pass, what)
  assert.equal(data, one.after, what)
}

const cases = hostCases()
assert.is(new Set(cases.map(({ name }) => name)).size, cases.length, 'each case has a name of its own')
const restored = cases.filter(({ reason }) => reason === 'RESTORED')
assert.ok(restored.length > 200, `${restored.length} cases of restored packets`)

/** All failures at once, of the first twenty the words. */
const each = (some: readonly HostCase[], run: (one: HostCase) => void): void => {
  const failures: string[] = []
  for (const one of some)
    try {
      run(one)
    } catch (error) {
      failures.push((error as Error).message)
    }
  assert.is(
    failures.length,
    0,
    `${failures.length} of ${some.length} cases:\n${failures.slice(0, 20).join('\n')}`,
  )
}

testIf(noBpf, it, `golden packets: ${cases.length} cases`, () => each(cases, one => check(one)))

testIf(noBpf, it, 'the same on an interface that is an uplink too', () => {
  lab.roles(ROLE.host | ROLE.forwarder)
  const tunnelled = cases.filter(({ reason }) => reason !== 'NOT_TUNNELLED' && reason !== 'TRUNCATED')
  each(tunnelled, one => check(one, 'edge_both'))
  each(
    cases.filter(({ reason }) => reason === 'NOT_TUNNELLED'),
    one => check({ ...one, reason: 'NOT_A_VIP' }, 'edge_both'),
  )
  lab.roles(ROLE.host)
})

const frameOf = (family: Family, more: PacketShape = {}): Uint8Array =>
  buildFrame(tunnelled(buildPacket(family, TCP, more), family, IDENTIFIER)!)
const IDENTIFIER = 0x0a123456

for (const family of FAMILIES)
  testIf(
    noBpf,
    it,
    `says when a mapping was used last, and what passed for its service, IPv${family}`,
    () => {
      const key = {
        tunnel: TUNNELS.first.index,
        generation: TUNNELS.first.generation,
        identifier: IDENTIFIER,
      }
      const mappings = lab.mappings[family]
      const now = tickNow()
      mappings.put(key, { client: addressWords(CLIENT[family]), port: 40000, service: 300 }, now + 30_000)
      lab.targets.set(300, [addressWords(VIP[family])], 80, TCP)
      const frame = frameOf(family)
      const before = lab.traffic(300)
      lab.run(frameOf(family, { flags: FLAG.ACK | FLAG.FIN }))
      assert.is(mappings.get(key)?.stamp, (now + 30_000) & 0xffff)
      assert.equal(lab.traffic(300), before)
      lab.run(frame)
      const stamp = mappings.get(key)!.stamp
      assert.ok(((stamp - now) & 0xffff) <= 1 + 5, `tick ${stamp}, begun at ${now}`)
      assert.equal(lab.traffic(300), { packets: before.packets + 1, bytes: before.bytes + frame.length - 14 })
      mappings.remove(key.tunnel, key.identifier)
      assert.is(lab.run(frame).data[26], frame[26])
    },
  )

for (const family of FAMILIES)
  testIf(noBpf, it, `changes take effect with the next packet, IPv${family}`, () => {
    const key = { tunnel: TUNNELS.first.index, generation: TUNNELS.first.generation, identifier: IDENTIFIER }
    const ends = { tunnel: addressWords(TUNNEL[family]), own: addressWords(OWN[family]) }
    const put = (generation: number, port: number) =>
      lab.mappings[family].put(
        { ...key, generation },
        { client: addressWords(CLIENT[family]), port, service: 1 },
        0,
      )
    const frame = frameOf(family)
    /** The client's port in the packet afterwards, or why it passed. */
    const outcome = (): number | string => {
      lab.resetCounters()
      const { data } = lab.run(frame)
      const at = 14 + (family === 4 ? 20 : 40)
      const [reason] = Object.keys(lab.counted())
      return reason === 'RESTORED' ? data[at] * 256 + data[at + 1] : reason
    }
    const seen: (number | string)[] = [outcome()]
    const step = (change: () => unknown): void => {
      change()
      seen.push(outcome())
    }
    step(() => put(key.generation, 5))
    step(() => put(key.generation, 6))
    step(() => lab.tunnels.set(ends, key.tunnel, 4))
    step(() => put(4, 7))
    step(() => lab.tunnels.delete(ends))
    step(() => lab.tunnels.set(ends, key.tunnel, 4))
    step(() => lab.targets.delete(1))
    step(() => lab.targets.set(1, [addressWords(VIP[family])], 80, TCP))
    step(() =>
      lab.targets.set(
        1,
        FAMILIES.map(other => addressWords(VIP[other])),
        80,
        TCP,
      ),
    )
    step(() => lab.mappings[family].remove(key.tunnel, key.identifier))
    step(() => lab.roles(0))
    step(() => lab.roles(ROLE.host))
    lab.tunnels.set(ends, key.tunnel, key.generation)
    assert.equal(seen, [
      'NO_MAPPING',
      5,
      6,
      'NO_MAPPING',
      7,
      'NOT_TUNNELLED',
      7,
      'NOT_TO_VIP',
      7,
      7,
      'NO_MAPPING',
      'ROLE_OFF',
      'NO_MAPPING',
    ])
  })

testIf(noBpf, it, 'marks what it restored for the rules behind it, and nothing else', () => {
  const mark = mac(0x77)
  const one = restored[0]
  lab.stackMark(mark)
  const [marked, other] = [withMapping(one, () => lab.run(one.frame)).data, lab.run(one.frame).data]
  lab.stackMark(null)
  assert.equal(marked.slice(6, 12), mark)
  assert.equal(
    [...marked.slice(0, 6), ...marked.slice(12)],
    [...one.after.slice(0, 6), ...one.after.slice(12)],
  )
  assert.equal(other, one.frame)
})

testIf(noBpf, it, 'tells hundreds of tunnels apart, by both their ends', () => {
  using own = new XdpHostLab(10)
  const below = integers(seeded(1))
  const known = new Map<string, { tunnel: string; own: string; index: number }>()
  const some = (family: Family) => ({
    tunnel:
      family === 4 ? `10.67.${below(2)}.${below(256)}` : `fd00:67:${below(2)}::${below(256).toString(16)}`,
    own: family === 4 ? `10.51.0.${below(2)}` : `fd00:51::${below(2)}:${below(2)}`,
  })
  for (let i = 0; i < 600; i++) {
    const pair = some(FAMILIES[i % 2])
    const ends = { tunnel: addressWords(pair.tunnel), own: addressWords(pair.own) }
    const name = `${pair.tunnel} ${pair.own}`
    if (below(4) === 0) assert.is(own.tunnels.delete(ends), known.delete(name))
    else {
      assert.ok(own.tunnels.set(ends, 1 + (i % 255), 0), 'no room')
      known.set(name, { ...pair, index: 1 + (i % 255) })
    }
  }
  let hits = 0
  const asked = [...known.values(), ...Array.from({ length: 600 }, (_, i) => some(FAMILIES[i % 2]))]
  for (const { tunnel, own: to } of asked) {
    const family = tunnel.includes(':') ? 6 : 4
    const packet = buildPacket(family, TCP, {
      source: tunnel,
      destination: to,
      sourcePort: 1,
      destinationPort: 1,
    })
    const expected = known.get(`${tunnel} ${to}`)
    const key = { tunnel: expected?.index ?? 1, generation: 0, identifier: 0x00010001 }
    own.mappings[family].put(key, { client: addressWords(CLIENT[family]), port: 1, service: 1 }, 0)
    own.resetCounters()
    own.run(buildFrame(packet))
    assert.equal(
      own.counted(),
      { [expected === undefined ? 'NOT_TUNNELLED' : 'RESTORED']: 1 },
      `${tunnel} to ${to}`,
    )
    own.mappings[family].remove(key.tunnel, key.identifier)
    if (expected !== undefined) hits++
  }
  assert.ok(hits > 300 && hits < asked.length - 100, `${hits} of ${asked.length}`)
})

/** So many of another address share the hash of a tunnel that each word of both ends must be compared. */
testIf(noBpf, it, 'takes no tunnel for another that has its place in the table', () => {
  using own = new XdpHostLab(10)
  const tries = 3000
  for (const family of FAMILIES) {
    const frame = buildFrame(tunnelled(buildPacket(family, UDP, { noChecksum: true }), family, IDENTIFIER)!)
    const at = 14 + (family === 4 ? 12 : 8)
    own.resetCounters()
    for (let word = 0; word < (family === 4 ? 2 : 8); word++)
      for (let n = 1; n <= tries; n++) {
        const other = frame.slice()
        const view = new DataView(other.buffer)
        view.setUint32(at + 4 * word, (view.getUint32(at + 4 * word) ^ Math.imul(n, 0x01000193)) >>> 0)
        if (family === 4) other.set(withHeaderChecksum(other.slice(14)), 14)
        own.run(other)
      }
    const { NOT_TUNNELLED, ...rest } = own.counted()
    assert.equal(rest, {})
    assert.is(NOT_TUNNELLED, tries * (family === 4 ? 2 : 8))
  }
})

testIf(noBpf, it, "60,000 mutated packets: the agent's verdicts and bytes, and each is counted", () => {
  const [packets, batch] = [60_000, 2000]
  const random = integers(seeded(runSeeds()[0]))
  const sources = mutationSources().flatMap(({ family, frame, tags, route }, i) => {
    if (route === null) return []
    const head = frame.subarray(0, packetOffset(tags))
    const tunnel = i % 2 === 0 ? ('first' as const) : ('other' as const)
    const from = tunnel === 'first' ? TUNNEL : OTHER_TUNNEL
    const packet = tunnelled(frame.slice(head.length), family, route.identifier, from)!
    const { identifier, client, port, service } = route
    const mapping = { family, tunnel, age: 0, identifier, client, port, service }
    return [{ family, frame: join(head, packet), mapping }]
  })
  const mappings = sources.map(({ mapping }) => mapping)
  for (const { family, tunnel, identifier, client, ...content } of mappings) {
    const { index: number, generation } = TUNNELS[tunnel]
    const key = { tunnel: number, generation, identifier }
    lab.mappings[family].put(key, { client: addressWords(client), ...content }, 0)
  }
  lab.roles(ROLE.host | ROLE.forwarder)
  let restoredOnes = 0
  for (let done = 0; done < packets; done += batch) {
    lab.resetCounters()
    for (let n = 0; n < batch; n++) {
      const frame = mutate(sources[random(sources.length)].frame, random)
      const after = restoredFrame(frame, mappings)
      const { verdict, data } = lab.run(frame, n % 2 === 0 ? 'edge_cluster' : 'edge_both')
      if (verdict !== XDP.pass || Buffer.compare(data, after ?? frame) !== 0)
        assert.unreachable(
          `verdict ${verdict}: ${Buffer.from(frame).toString('hex')} became ${Buffer.from(data).toString('hex')}`,
        )
      if (after !== null) restoredOnes++
    }
    const counted = lab.counted()
    const sum = Object.values(counted).reduce((total, count) => total + count, 0)
    assert.is(sum, batch, JSON.stringify(counted))
    assert.is(counted.NONE, undefined)
  }
  lab.roles(ROLE.host)
  assert.ok(restoredOnes > packets / 100 && restoredOnes < packets * 0.9, `${restoredOnes} restored`)
})

it.run()
