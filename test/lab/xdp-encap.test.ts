/** Full encapsulation by XDP (R-A4): golden packets there and back, and what must never be taken out. */
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SERVICE_FLAG, ServiceTable } from '../../src/agent/dataplane/xdp/service-table.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import {
  buildPacket,
  flowCase,
  type PacketShape,
  PROTOCOLS,
  type Protocol,
  TCP,
  UDP,
  withBytes,
} from '../support/dataplane-case.ts'
import { mutate } from '../support/dataplane-mutations.ts'
import { TAGS } from '../support/dataplane-ways.ts'
import {
  CLIENT,
  FAMILIES,
  type Family,
  HOSTS,
  type HostName,
  NARROW_MTU,
  SERVICES,
  STRANGER,
  TUNNEL,
  VIP,
  VLAN_TAG,
} from '../support/dataplane-world.ts'
import { buildFrame, mac, packetOffset, type VlanTag } from '../support/ethernet.ts'
import { OTHER_TUNNEL, OWN } from '../support/host-cases.ts'
import { removeNetns } from '../support/netns.ts'
import {
  addressWords,
  buildIp4,
  buildIp6,
  checksumFaults,
  FLAG,
  type PacketOptions,
  pattern,
} from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { CARRIED, ECN, wrapped } from '../support/whole-packets.ts'
import { XdpHostLab } from '../support/xdp-host-lab.ts'
import { sourceOf, XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/encapsulation')
const noBpf = missingBpf()
let lab: XdpLab
let host: XdpHostLab
let hostServices: MappedArray

it.before(async () => {
  if (noBpf !== undefined) return
  lab = await XdpLab.open()
  host = new XdpHostLab()
  hostServices = new MappedArray(host.object.map('services'))
  const here = new ServiceTable(hostServices.bytes)
  for (const { vip, port, protocol, number } of SERVICES)
    for (const family of FAMILIES) {
      const words = addressWords(vip[family])
      lab.services.set(words, 0, port, protocol, number, SERVICE_FLAG.encapsulate)
      // As at a forwarder and host at once; the flag is nothing to a host.
      here.set(words, 0, port, protocol, number, number % 2 === 0 ? SERVICE_FLAG.encapsulate : 0)
    }
  // A service that is known, and not this host's.
  for (const family of FAMILIES) here.set(addressWords(VIP[family]), 0, 4444, TCP, 5)
})
it.after(async () => {
  hostServices?.release()
  host?.close()
  lab?.close()
  await removeNetns()
})

interface Way {
  readonly host: HostName
  readonly tags: readonly VlanTag[]
}
const WAYS: readonly Way[] = (['redirected', 'sentBack', 'vlan', 'last'] as const).flatMap(name =>
  [[], ...Object.values(TAGS)].map(tags => ({ host: name, tags })),
)

/** The forwarder's verdict, frame and count for one packet of a flow with a route to `to`. */
const forward = (
  family: Family,
  protocol: Protocol,
  packet: PacketShape,
  { host: to, tags }: Way,
  mapped = false,
) => {
  const one = flowCase('', family, protocol, { packet, host: to, frame: { tags }, route: { mapped } })
  lab.addRoute(family, one.route!)
  lab.resetCounters()
  const { verdict, data } = lab.netns.run(() => lab.run(one.frame))
  const counted = lab.counted()
  lab.removeRoute(family, one.route!)
  return { one, verdict, data, counted }
}

/** What must leave, by the RFCs. */
const expected = (
  family: Family,
  protocol: Protocol,
  packet: PacketShape,
  to: HostName,
  more: PacketOptions = {},
): Uint8Array => {
  const { address, exit, neighbour } = HOSTS[to] as (typeof HOSTS)['redirected']
  const inner = buildPacket(family, protocol, { ...packet, ttl: (packet.ttl ?? 64) - 1 })
  const outer = wrapped(inner, family, {
    destination: address[family],
    trafficClass: packet.trafficClass ?? 0,
    ...(family === 4 ? { dontFragment: packet.dontFragment ?? false } : {}),
    ...more,
  })
  return buildFrame(outer, {
    source: sourceOf(HOSTS[to]),
    destination: mac(neighbour),
    tags: (exit as string) === 'vlan' ? [VLAN_TAG] : [],
  })
}

const SHAPES: Readonly<Record<string, PacketShape>> = {
  plain: { dontFragment: true },
  'with DSCP and ECN': { dontFragment: true, trafficClass: 0xb9 },
  'TTL 2': { dontFragment: true, ttl: 2 },
  'TTL 255': { dontFragment: true, ttl: 255 },
  'no payload': { dontFragment: true, payload: new Uint8Array(0) },
  jumbo: { dontFragment: true, payload: pattern(8000) },
  'IP options': {
    dontFragment: true,
    ipOptions: pattern(8),
    extensionHeaders: [{ type: 60, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }],
  },
  'no UDP checksum': { dontFragment: true, noChecksum: true },
}

testIf(
  noBpf,
  it,
  'whole packets leave as RFC 2003 and RFC 2473 say, whatever the link before and after',
  () => {
    for (const family of FAMILIES)
      for (const protocol of PROTOCOLS)
        for (const way of WAYS)
          for (const [name, packet] of Object.entries(SHAPES)) {
            const { verdict, data, counted } = forward(family, protocol, packet, way, way.host === 'last')
            const what = `IPv${family} ${protocol} ${name} to ${way.host}, ${way.tags.length} tags`
            assert.equal(counted, { ENCAPSULATED: 1 }, what)
            const back = way.host === 'sentBack' || way.host === 'vlan'
            assert.is(verdict, back ? XDP.tx : XDP.redirect, what)
            assert.equal(data, expected(family, protocol, packet, way.host), what)
          }
  },
)

testIf(
  noBpf,
  it,
  'what may be fragmented may be outside too, and has an identification of its own each time',
  () => {
    const way = { host: 'redirected', tags: [] } as const
    const seen = new Set<number>()
    for (let n = 0; n < 50; n++) {
      const { data, counted } = forward(4, TCP, {}, way)
      assert.equal(counted, { ENCAPSULATED: 1 })
      const identification = (data[18] << 8) | data[19]
      seen.add(identification)
      assert.equal(data, expected(4, TCP, {}, 'redirected', { identification }))
    }
    assert.ok(seen.size > 40, `${seen.size} identifications`)
  },
)

testIf(noBpf, it, 'what cannot go that way passes as it came, and is counted', () => {
  for (const family of FAMILIES)
    for (const protocol of PROTOCOLS) {
      const overhead = family === 4 ? 20 : 40
      const headers = (family === 4 ? 20 : 40) + (protocol === TCP ? 20 : 8)
      const room = NARROW_MTU - overhead - headers
      const on = (to: HostName, packet: PacketShape, reason: string, tags: readonly VlanTag[] = []): void => {
        const { one, verdict, data, counted } = forward(family, protocol, packet, { host: to, tags })
        const what = `IPv${family} ${protocol} to ${to}: ${reason}`
        assert.equal(counted, { [reason]: 1 }, what)
        if (reason === 'ENCAPSULATED') return
        assert.is(verdict, XDP.pass, what)
        assert.equal(data, one.frame, what)
      }
      for (const tags of [[], TAGS['VLAN 5']]) {
        on('narrow', { payload: pattern(room) }, 'ENCAPSULATED', tags)
        on('narrow', { payload: pattern(room + 1) }, 'TOO_BIG', tags)
        on('unresolved', {}, 'NO_NEIGHBOUR', tags)
        on('blackhole', {}, 'NO_NEXT_HOP', tags)
        on('elsewhere', {}, 'OTHER_INTERFACE', tags)
        on(family === 4 ? 'otherFamily6' : 'otherFamily4', {}, 'NO_HOST', tags)
        on('redirected', { ttl: 1 }, 'TTL_EXPIRED', tags)
        on('local', {}, 'LOCAL', tags)
      }
      if (protocol === TCP)
        for (const flags of [FLAG.SYN, FLAG.FIN | FLAG.ACK, FLAG.RST])
          on('redirected', { flags }, 'TCP_CONTROL')
      const { one } = forward(family, protocol, {}, { host: 'redirected', tags: [] })
      const several = withBytes(one.frame, 0, 255, 255, 255, 255, 255, 255)
      lab.addRoute(family, one.route!)
      lab.resetCounters()
      assert.equal(lab.netns.run(() => lab.run(several)).data, several)
      assert.equal(lab.counted(), { LINK_MULTICAST: 1 })
      lab.removeRoute(family, one.route!)
    }
})

const take = (frame: Uint8Array, program?: string) => {
  host.resetCounters()
  const { verdict, data } = host.run(frame, program)
  assert.is(verdict, XDP.pass)
  return { data, counted: host.counted() }
}
const taken = (inner: Uint8Array, tags: readonly VlanTag[]): Uint8Array => buildFrame(inner, { tags })
const refused = (frame: Uint8Array, reason: string | null, what = ''): void => {
  const { data, counted } = take(frame)
  if (reason === null) assert.is(counted.DECAPSULATED, undefined, what)
  else assert.equal(counted, { [reason]: 1 }, what)
  assert.equal(data, frame, what)
}

testIf(
  noBpf,
  it,
  'the host takes out what was put in: each family in each, TCP with any flags and UDP, any tags',
  () => {
    for (const outer of FAMILIES)
      for (const family of FAMILIES)
        for (const protocol of PROTOCOLS)
          for (const tags of [[], ...Object.values(TAGS)])
            for (const packet of [
              {},
              { flags: FLAG.SYN },
              { flags: FLAG.FIN | FLAG.ACK },
              { flags: FLAG.RST },
              { payload: pattern(1400) },
              { ttl: 1 },
              { noChecksum: true },
            ]) {
              const inner = buildPacket(family, protocol, packet)
              for (const program of ['edge_cluster', 'edge_both']) {
                const { data, counted } = take(buildFrame(wrapped(inner, outer), { tags }), program)
                assert.equal(counted, { DECAPSULATED: 1 }, `${family} in ${outer}`)
                assert.equal(data, taken(inner, tags))
              }
            }
  },
)

testIf(
  noBpf,
  it,
  'an outer packet with options, from any tunnel, in a marked frame: the bytes of services are the inner ones',
  () => {
    const inner = buildPacket(4, TCP, {})
    const option = { type: 60, body: Uint8Array.of(4, 1, 4, 0, 0, 0) }
    const before = host.traffic(1)
    const frames = [
      wrapped(inner, 4, { ipOptions: pattern(12) }),
      wrapped(inner, 6, { extensionHeaders: [option] }),
      wrapped(inner, 4, { source: OTHER_TUNNEL[4] }),
      wrapped(inner, 4, { dontFragment: false, identification: 77, padding: 3 }),
    ].map(packet => buildFrame(packet))
    host.stackMark(mac(0x99))
    for (const frame of frames) {
      const { data, counted } = take(frame)
      assert.equal(counted, { DECAPSULATED: 1 })
      assert.equal(data.slice(0, 14 + inner.length), buildFrame(inner, { source: mac(0x99) }))
    }
    host.stackMark(null)
    const after = host.traffic(1)
    assert.is(after.packets - before.packets, frames.length)
    assert.is(after.bytes - before.bytes, frames.length * inner.length)
  },
)

testIf(noBpf, it, 'marks of congestion are carried over (RFC 6040)', () => {
  for (const outer of FAMILIES)
    for (const family of FAMILIES)
      for (const inside of Object.values(ECN))
        for (const outside of Object.values(ECN)) {
          const at = (ecn: number): Uint8Array => buildPacket(family, TCP, { trafficClass: 0xb8 | ecn })
          const frame = buildFrame(wrapped(at(inside), outer, { trafficClass: outside }))
          const carried = CARRIED[inside]![outside]!
          if (carried === null) refused(frame, 'CONGESTION_LOST')
          else assert.equal(take(frame).data, buildFrame(at(carried)), `${inside} in ${outside}`)
        }
})

testIf(
  noBpf,
  it,
  'what is not from a tunnel, not whole, or not for a service here is never taken out',
  () => {
    for (const family of FAMILIES) {
      const build = family === 4 ? buildIp4 : buildIp6
      const inner = (packet: PacketShape = {}, protocol: Protocol = TCP): Uint8Array =>
        buildPacket(family, protocol, packet)
      const outer = (packet: Uint8Array, options: PacketOptions = {}): Uint8Array =>
        buildFrame(wrapped(packet, family, options))
      for (const source of [STRANGER, CLIENT, VIP])
        refused(outer(inner(), { source: source[family] }), 'NOT_TUNNELLED')
      refused(outer(inner(), { destination: HOSTS.redirected.address[family] }), null)
      refused(outer(inner({ destination: STRANGER[family] })), 'NOT_TO_VIP')
      refused(outer(inner({ destination: OWN[family] })), 'NOT_TO_VIP')
      refused(outer(inner({ destinationPort: 81 })), 'NOT_TO_VIP')
      refused(outer(inner({ destinationPort: 53 })), 'NOT_TO_VIP')
      refused(outer(inner({ destinationPort: 80 }, UDP)), 'NOT_TO_VIP')
      refused(outer(inner({ destinationPort: 4444 })), 'NOT_TO_VIP', 'a service that is not this host’s')
      refused(outer(inner({ destinationPort: 1 })), 'NOT_TO_VIP', 'a number beyond the targets')
      refused(outer(inner(), { moreFragments: true }), 'FRAGMENT', 'an outer fragment')
      refused(outer(inner(), { fragmentOffset: 8 }), 'FRAGMENT', 'a later outer fragment')
      refused(outer(inner({ moreFragments: true })), 'BAD_INNER')
      refused(outer(inner({ fragmentOffset: 8 })), 'BAD_INNER')
      refused(outer(build(47, pattern(40), { destination: VIP[family] })), 'BAD_INNER', 'GRE')
      refused(
        outer(build(family === 4 ? 1 : 58, pattern(40), { destination: VIP[family] })),
        'BAD_INNER',
        'ICMP',
      )
      refused(outer(wrapped(inner(), family)), 'BAD_INNER', 'twice')
      // What the outer one says of it is not what it is.
      const wrong = wrapped(inner(), family)
      const protocolAt = family === 4 ? 9 : 6
      const other = withBytes(wrong, protocolAt, wrong[protocolAt] === 4 ? 41 : 4)
      if (family === 6) refused(buildFrame(other), 'BAD_INNER')
      for (const version of [0, 1, 5, 15])
        refused(outer(withBytes(inner(), 0, (version << 4) | 5)), 'BAD_INNER')
      if (family === 4)
        refused(outer(withBytes(inner(), 0, 0x44)), 'BAD_INNER', 'an impossible header length')
      // Longer than what it is in, or shorter than its headers.
      const lengthAt = family === 4 ? 2 : 4
      for (const length of [0xffff, inner().length + 1, 0, 19, 27]) {
        if (family === 6 && length === inner().length + 1) continue
        refused(
          outer(withBytes(inner(), lengthAt, length >>> 8, length & 255)),
          'BAD_INNER',
          `length ${length}`,
        )
      }
      const whole = wrapped(inner({ payload: pattern(9) }), family)
      for (let cut = 0; cut < whole.length; cut++)
        refused(
          buildFrame(whole.slice(0, cut), { type: family === 4 ? 0x0800 : 0x86dd }),
          'TRUNCATED',
          `${cut} bytes`,
        )
      // Cut off inside, by the outer one's own word.
      for (let cut = 0; cut < inner().length; cut++) {
        const reason = take(outer(inner().slice(0, cut))).counted
        assert.ok(reason.BAD_INNER === 1 || (family === 4 && cut === 0), `${cut}: ${JSON.stringify(reason)}`)
      }
    }
  },
)

testIf(noBpf, it, 'encapsulated and taken out again, a packet is what it was, one hop older', () => {
  const random = integers(seeded(runSeeds()[0]))
  for (const family of FAMILIES)
    host.tunnels.set(
      { tunnel: addressWords(TUNNEL[family]), own: addressWords(HOSTS.redirected.address[family]) },
      9,
      0,
    )
  for (let n = 0; n < 1000; n++) {
    const family = FAMILIES[random(2)]!
    const protocol = PROTOCOLS[random(2)]!
    const packet: PacketShape = {
      ttl: 2 + random(254),
      trafficClass: random(256),
      dontFragment: random(2) === 0,
      identification: random(65536),
      payload: pattern(random(1400), random(99)),
      flags: random(2) === 0 ? FLAG.ACK : FLAG.ACK | FLAG.PSH,
      ...(random(3) === 0 ? { ipOptions: pattern(4 * random(8)) } : {}),
    }
    const { data } = forward(family, protocol, packet, {
      host: 'redirected',
      tags: Object.values(TAGS)[random(5)]!,
    })
    const back = take(data)
    assert.equal(back.counted, { DECAPSULATED: 1 })
    assert.equal(back.data.subarray(14), buildPacket(family, protocol, { ...packet, ttl: packet.ttl! - 1 }))
    assert.equal(checksumFaults(back.data.subarray(14)), [])
  }
})

testIf(
  noBpf,
  it,
  '40,000 mutated packets: taken out whole or passed as they came, and each is counted',
  () => {
    const random = integers(seeded(runSeeds()[0]))
    const sources = FAMILIES.flatMap(outer =>
      FAMILIES.flatMap(family =>
        PROTOCOLS.flatMap(protocol =>
          [[], TAGS['two tags']!].map(tags =>
            buildFrame(
              wrapped(buildPacket(family, protocol, { payload: pattern(11), trafficClass: 2 }), outer),
              { tags },
            ),
          ),
        ),
      ),
    )
    const [packets, batch] = [40_000, 2000]
    let out = 0
    for (let done = 0; done < packets; done += batch) {
      host.resetCounters()
      for (let n = 0; n < batch; n++) {
        const frame = mutate(sources[random(sources.length)]!, random)
        const { verdict, data } = host.run(frame)
        assert.is(verdict, XDP.pass)
        if (Buffer.compare(data, frame) === 0) continue
        out++
        // The link's header, and the end of what came; of the inner header only what ECN touches may differ.
        const shift = frame.length - data.length
        const tags = frame[12] === 0x81 || frame[12] === 0x88 ? 2 : 0
        const at = packetOffset(tags)
        assert.equal(data.subarray(at + 12), frame.subarray(at + shift + 12))
        assert.equal(data.subarray(0, 12), frame.subarray(0, 12))
      }
      const counted = host.counted()
      assert.is(
        Object.values(counted).reduce((sum, count) => sum + count, 0),
        batch,
        JSON.stringify(counted),
      )
    }
    assert.ok(out > packets / 20 && out < packets * 0.9, `${out} taken out`)
  },
)

it.run()
