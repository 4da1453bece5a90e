import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EDGE_CONFIG, EDGE_GLOBALS, STACK_MARK } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import {
  type DataplaneCase,
  flowCase,
  identifierOf,
  type PacketShape,
  TCP,
  UDP,
  withBytes,
} from '../support/dataplane-case.ts'
import { dataplaneCases } from '../support/dataplane-cases.ts'
import { expectedFrame } from '../support/dataplane-expected.ts'
import { FAMILIES, HOSTS, type HostName } from '../support/dataplane-world.ts'
import { mac } from '../support/ethernet.ts'
import { removeNetns } from '../support/netns.ts'
import { checksumFaults, FLAG, pattern } from '../support/packets.ts'
import { runSeeds } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { sourceOf, XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/forwarder')
const noBpf = missingBpf()
let lab: XdpLab

it.before(async () => {
  if (noBpf === undefined) lab = await XdpLab.open()
})
it.after(async () => {
  lab?.close()
  await removeNetns()
})

const verdictOf = ({ fate, host }: Pick<DataplaneCase, 'fate' | 'host'>): number => {
  if (fate === 'dropped') return XDP.drop
  if (fate === 'passed') return XDP.pass
  return host?.exit === 'uplink' || host?.exit === 'vlan' ? XDP.tx : XDP.redirect
}

const check = (one: DataplaneCase): void => {
  if (one.route !== null) lab.addRoute(one.family, one.route)
  lab.resetCounters()
  const { verdict, data } = lab.run(one.frame)
  const counted = lab.counted()
  if (one.route !== null) lab.removeRoute(one.family, one.route)
  const what = `${one.name}: verdict ${verdict}, ${JSON.stringify(counted)}`
  assert.equal(counted, { [one.reason]: 1 }, what)
  assert.is(verdict, verdictOf(one), what)
  assert.equal(data, one.fate === 'forwarded' ? expectedFrame(one, sourceOf) : one.frame, what)
}

const cases = dataplaneCases()
const names = new Set(cases.map(({ name }) => name))
assert.is(names.size, cases.length, 'each case has a name of its own')

for (const hopLifeNs of [0, 1_000_000_000])
  testIf(noBpf, it, `golden packets: ${cases.length} cases, next hops kept for ${hopLifeNs} ns`, () => {
    const failures: string[] = []
    lab.configure(EDGE_CONFIG.hopLifeNs, hopLifeNs)
    lab.netns.run(() => {
      for (const one of cases)
        try {
          check(one)
        } catch (error) {
          failures.push((error as Error).message)
        }
    })
    lab.configure(EDGE_CONFIG.hopLifeNs, 0)
    const some = failures.slice(0, 20).join('\n')
    assert.is(failures.length, 0, `${failures.length} of ${cases.length} cases:\n${some}`)
  })

const address6 = (bytes: Uint8Array): string =>
  Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] << 8) | bytes[2 * i + 1]).toString(16)).join(':')
const small = (edit: (packet: PacketShape) => PacketShape = packet => packet): DataplaneCase =>
  flowCase('one', 4, TCP, { packet: edit({}) })
const reasonOf = (frame: Uint8Array, program?: string): string => {
  lab.resetCounters()
  lab.netns.run(() => lab.run(frame, program))
  const counted = Object.entries(lab.counted())
  assert.is(counted.length, 1)
  assert.is(counted[0][1], 1)
  return counted[0][0]
}

testIf(noBpf, it, 'a route that is used is stamped with the current tick, and no other', () => {
  for (const family of FAMILIES) {
    const one = flowCase('stamp', family, TCP)
    const other = flowCase('other', family, TCP, { packet: { sourcePort: 40001 } })
    for (const { route } of [one, other]) lab.addRoute(family, route!, 7)
    const before = Number(process.hrtime.bigint() >> 30n) & 0xffff
    assert.is(reasonOf(one.frame), 'REDIRECTED')
    const after = Number(process.hrtime.bigint() >> 30n) & 0xffff
    const [stamp, untouched] = [one, other].map(({ route }) => lab.stampOf(family, route!))
    // The coarse clock is late by up to a timer tick.
    assert.ok(
      stamp === before || stamp === after || stamp === ((before - 1) & 0xffff),
      `${before} ${stamp} ${after}`,
    )
    assert.is(untouched, 7)
    for (const { route } of [one, other]) lab.removeRoute(family, route!)
  }
})

testIf(noBpf, it, 'packets and bytes of services and hosts', () => {
  const sizes = [0, 10, 1000]
  for (const family of FAMILIES)
    for (const [host, service, port] of [
      ['sentBack', 300, 8080],
      ['local', 1, 80],
    ] as const) {
      const before = [lab.traffic('service_traffic', service), lab.traffic('host_traffic', HOSTS[host].index)]
      for (const size of sizes) {
        const one = flowCase('sized', family, TCP, {
          host,
          packet: { destinationPort: port, payload: new Uint8Array(size), padding: 3 },
        })
        lab.addRoute(family, one.route!)
        lab.netns.run(() => lab.run(one.frame))
        lab.removeRoute(family, one.route!)
      }
      const bytes = sizes.length * (family === 4 ? 40 : 60) + 1010
      const after = [lab.traffic('service_traffic', service), lab.traffic('host_traffic', HOSTS[host].index)]
      assert.equal(
        after.map((now, i) => [now.packets - before[i].packets, now.bytes - before[i].bytes]),
        [
          [3, bytes],
          [3, bytes],
        ],
      )
    }
})

testIf(noBpf, it, 'does nothing without its role, nor by a program that is not for it', () => {
  const { frame, route } = small()
  lab.addRoute(4, route!)
  lab.configure(EDGE_CONFIG.roles, 0)
  assert.is(reasonOf(frame), 'ROLE_OFF')
  lab.configure(EDGE_CONFIG.roles, 2)
  assert.is(reasonOf(frame), 'ROLE_OFF')
  lab.configure(EDGE_CONFIG.roles, 1)
  assert.is(reasonOf(frame, 'edge_cluster'), 'ROLE_OFF')
  assert.is(reasonOf(frame, 'edge_both'), 'REDIRECTED')
  assert.is(reasonOf(frame), 'REDIRECTED')
  lab.removeRoute(4, route!)
})

testIf(noBpf, it, 'what this node itself serves is marked as done, in the frame alone', () => {
  const ours = mac(0x77)
  const { offset } = EDGE_GLOBALS.stackMark
  lab.config.bytes.set(ours, offset + STACK_MARK.source)
  lab.config.view.setUint16(offset + STACK_MARK.on, 1, true)
  for (const family of FAMILIES) {
    const { frame, route } = flowCase('local', family, UDP, { host: 'local' })
    lab.addRoute(family, route!)
    const { verdict, data } = lab.netns.run(() => lab.run(frame))
    lab.removeRoute(family, route!)
    assert.is(verdict, XDP.pass)
    assert.equal(data, withBytes(frame, 6, ...ours))
    assert.equal(lab.netns.run(() => lab.run(frame)).data, frame, 'not without a route')
  }
  lab.config.view.setUint16(offset + STACK_MARK.on, 0, true)
})

testIf(
  noBpf,
  it,
  'random packets: what leaves is what the agent would send, with checksums that are right',
  () => {
    const shape = fc.record({
      family: fc.constantFrom(...FAMILIES),
      protocol: fc.constantFrom(TCP, UDP),
      host: fc.constantFrom<HostName>('redirected', 'sentBack', 'vlan', 'last'),
      low: fc.nat(0xffffff),
      tags: fc.array(fc.record({ type: fc.constantFrom(0x8100, 0x88a8), tci: fc.nat(0xffff) }), {
        maxLength: 2,
      }),
      packet: fc.record({
        sourcePort: fc.nat(0xffff),
        payload: fc.uint8Array({ maxLength: 70 }),
        ttl: fc.integer({ min: 2, max: 255 }),
        trafficClass: fc.nat(255),
        identification: fc.nat(0xffff),
        dontFragment: fc.boolean(),
        sequence: fc.integer({ min: 0, max: 0xffffffff }),
        flags: fc.nat(255).map(flags => flags & ~(FLAG.SYN | FLAG.FIN | FLAG.RST)),
        noChecksum: fc.boolean(),
        padding: fc.nat(20),
        tcpOptions: fc.nat(10).map(words => pattern(words * 4)),
        ipOptions: fc.nat(10).map(words => pattern(words * 4, 9)),
        extensionHeaders: fc.array(
          fc.record({ type: fc.constant(60), body: fc.nat(3).map(units => new Uint8Array(units * 8 + 6)) }),
          { maxLength: 8 },
        ),
      }),
      address: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    })
    fc.assert(
      fc.property(shape, ({ family, protocol, host, low, tags, packet, address }) => {
        const source = family === 4 ? address.subarray(0, 4).join('.') : address6(address)
        const one = flowCase('random', family, protocol, {
          host,
          packet: { ...packet, source },
          frame: { tags },
          route: { identifier: identifierOf(HOSTS[host].index, low) },
        })
        lab.netns.run(() => check(one))
        const left = expectedFrame(one, sourceOf)
        assert.equal(checksumFaults(left.slice(host === 'vlan' ? 18 : 14)), [])
      }),
      { numRuns: 1500, seed: runSeeds()[0] },
    )
  },
)

it.run()
