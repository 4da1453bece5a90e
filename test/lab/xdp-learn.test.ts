/** A host's kernel takes in first packets by itself (bpf/learn.h): datagrams by the agent's encoder in, packets and mappings out. */
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KIND } from '../../src/agent/dataplane/mapping-header.ts'
import { LearntFollower } from '../../src/agent/dataplane/xdp/learnt-follower.ts'
import { ServiceNumbers } from '../../src/agent/dataplane/xdp/service-numbers.ts'
import { tickNow } from '../../src/agent/dataplane/xdp/tick.ts'
import { TunnelBook } from '../../src/agent/dataplane/xdp/tunnel-book.ts'
import { XDP } from '../../src/os/bpf/program.ts'
import { missingBpf } from '../support/bpf.ts'
import { buildPacket, TCP, UDP } from '../support/dataplane-case.ts'
import { CLIENT, FAMILIES, type Family, OPEN_VIP, STRANGER, TUNNEL, VIP } from '../support/dataplane-world.ts'
import { buildFrame, ETHERTYPE, mac, type VlanTag } from '../support/ethernet.ts'
import { OTHER_TUNNEL, tunnelled } from '../support/host-cases.ts'
import { addressWords, buildIp4, buildIp6, FLAG, pattern } from '../support/packets.ts'
import { integers, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { TUNNELS } from '../support/xdp-host-lab.ts'
import {
  type DatagramShape,
  datagram,
  EPOCH,
  headerPlace,
  IDENTIFIER,
  KEY,
  WINDOW_S,
  XdpLearnLab,
} from '../support/xdp-learn-lab.ts'

const it = suite('xdp/learn')
const noBpf = missingBpf()
const test = (name: string, body: () => void): void => testIf(noBpf, it, name, body)
let lab: XdpLearnLab

it.before(() => {
  if (noBpf === undefined) lab = new XdpLearnLab()
})
it.after(() => lab?.close())
it.before.each(() => {
  if (noBpf !== undefined) return
  lab.renew()
  lab.tunnel(4)
  lab.stackMark(null)
  lab.forget()
})

const { index: tunnel, generation } = TUNNELS.first
const event = (tcpFlags: number, kind: 'learnt' | 'closes' = 'learnt') => ({
  ...{ kind, identifier: IDENTIFIER, tunnel, generation, tcpFlags },
})

/** What the agent would have to judge: unchanged, nothing stored, nobody told. @param reasons one of them */
const refused = (frame: Uint8Array, reasons: string, what: string): void => {
  lab.resetCounters()
  const before = lab.learnt.some(100_000).length
  const { verdict, data } = lab.run(frame)
  const [reason, ...more] = Object.entries(lab.counted())
  assert.equal(more, [], what)
  assert.ok(reasons.split('|').includes(reason[0]) && reason[1] === 1, `${what}: ${reason}`)
  assert.is(verdict, XDP.pass, what)
  assert.equal(data, frame, what)
  assert.is(lab.learnt.some(100_000).length, before, `${what}: stored`)
  assert.equal(lab.told(), [], what)
}

const TAGS: readonly (readonly VlanTag[])[] = [
  [],
  [{ type: ETHERTYPE.vlan, tci: 5 }],
  [
    { type: ETHERTYPE.serviceVlan, tci: 6 },
    { type: ETHERTYPE.vlan, tci: 0xe007 },
  ],
]
const FIRST: Readonly<Record<string, { readonly shape: DatagramShape; readonly flags: number }>> = {
  SYN: { shape: {}, flags: FLAG.SYN },
  'SYN with options and data': {
    shape: { packet: { flags: FLAG.SYN, tcpOptions: pattern(12), payload: pattern(200) } },
    flags: FLAG.SYN,
  },
  "the handshake's ACK": { shape: { packet: { flags: FLAG.ACK } }, flags: FLAG.ACK },
  data: { shape: { packet: { flags: FLAG.ACK, payload: pattern(1300) } }, flags: FLAG.ACK },
  'FIN with data': {
    shape: { packet: { flags: FLAG.FIN | FLAG.ACK, payload: pattern(9) } },
    flags: FLAG.FIN | FLAG.ACK,
  },
  UDP: { shape: { protocol: UDP, packet: { payload: pattern(31) } }, flags: 0 },
}

for (const family of FAMILIES)
  for (const [name, { shape, flags }] of Object.entries(FIRST))
    for (const tags of TAGS)
      test(`IPv${family}, ${name}, ${tags.length} VLAN tags: the packet inside, byte for byte, and its mapping`, () => {
        const { frame, inner } = datagram(family, { ...shape, tags })
        const first = lab.run(frame)
        assert.equal(lab.counted(), { LEARNT: 1 })
        assert.is(first.verdict, XDP.pass)
        assert.equal(first.data, inner)
        assert.equal(lab.told(), [event(flags)])
        const [learnt] = lab.learnt.some(10)
        const protocol = shape.protocol ?? TCP
        assert.equal(
          learnt,
          {
            ...{ identifier: IDENTIFIER, tunnel, generation, client: addressWords(CLIENT[family]) },
            ...{ port: 40_000, service: protocol === TCP ? 1 : 2, epoch: EPOCH, sequence: 77 },
            ...{ protocol, host: 9, tunnelled: false, tcpFlags: flags },
          },
          'what the agent finds',
        )

        // The next one comes in tunnelled form; with a table that the agent has not filled yet, and with one that it has.
        const next = buildPacket(family, protocol, { sourcePort: 40_000, payload: pattern(100) })
        const way = buildFrame(tunnelled(next, family, IDENTIFIER)!, { tags })
        const restored = buildFrame(next, { tags })
        assert.equal(lab.run(way).data, restored)
        assert.is(lab.learnt.some(10)[0].tunnelled, true)
        // Sent again, it is as welcome.
        assert.equal(lab.run(frame).data, inner)
        lab.mappings[family].put({ tunnel, generation, identifier: IDENTIFIER }, learnt, 0)
        lab.learnt.delete(tunnel, generation, IDENTIFIER)
        assert.equal(lab.run(way).data, restored)
        assert.equal(lab.run(frame).data, inner)
        assert.is(lab.learnt.some(10).length, 0, 'the table has it')
        assert.equal(lab.counted(), { LEARNT: 1, RESTORED: 2, LEARNT_AGAIN: 2 })
        lab.mappings[family].remove(tunnel, IDENTIFIER)
        assert.equal(lab.told(), [event(flags), event(flags)])
      })

test('the frame is marked for what is behind, and traffic is counted for the service', () => {
  const { frame, inner } = datagram(4)
  lab.stackMark(mac(0x77))
  const before = lab.traffic(1)
  const { data } = lab.run(frame)
  assert.equal(data.subarray(6, 12), mac(0x77))
  assert.equal(data.subarray(12), inner.subarray(12))
  const after = lab.traffic(1)
  assert.equal([after.packets - before.packets, after.bytes - before.bytes], [1, inner.length - 14])
})

test('FIN and RST of mapped flows are restored, and the agent is told of each', () => {
  lab.run(datagram(4).frame)
  lab.told()
  for (const flags of [FLAG.FIN | FLAG.ACK, FLAG.RST]) {
    const packet = buildPacket(4, TCP, { sourcePort: 40_000, flags })
    assert.equal(lab.run(buildFrame(tunnelled(packet, 4, IDENTIFIER)!)).data, buildFrame(packet))
    assert.equal(
      lab.told().map(told => ({ ...told, tcpFlags: 0 })),
      [event(0, 'closes')],
    )
  }
})

const withByte = (bytes: Uint8Array, at: number, byte: number): Uint8Array => {
  bytes[at] = byte
  return bytes
}

const OTHER_KEY = Uint32Array.of(1, 2, 3, 4)
const INNER: Readonly<Record<string, (family: Family) => Uint8Array>> = {
  'another client inside': family => buildPacket(family, TCP, { source: STRANGER[family], flags: FLAG.SYN }),
  "another client's port inside": family => buildPacket(family, TCP, { sourcePort: 40_001, flags: FLAG.SYN }),
  'another VIP inside': family =>
    buildPacket(family, TCP, { destination: OPEN_VIP[family], flags: FLAG.SYN }),
  'another port of the VIP inside': family => buildPacket(family, TCP, { destinationPort: 8080 }),
  'another protocol inside': family => buildPacket(family, UDP, { sourcePort: 40_000, destinationPort: 80 }),
  'a first fragment inside': family =>
    buildPacket(family, TCP, { moreFragments: true, payload: pattern(96) }),
  'a later fragment inside': family => buildPacket(family, TCP, { fragmentOffset: 80, payload: pattern(96) }),
  'half of a TCP header inside': family =>
    (family === 4 ? buildIp4 : buildIp6)(6, buildPacket(4, TCP, {}).slice(20, 30), {
      source: CLIENT[family],
      destination: VIP[family],
    }),
  'a packet inside that says it is longer': family => {
    const packet = buildPacket(family, TCP, { payload: pattern(40) })
    return packet.slice(0, packet.length - 1)
  },
  'bytes behind the packet inside': family =>
    Uint8Array.from([...buildPacket(family, TCP, { payload: pattern(40) }), 0, 0, 0]),
  'IPv4 options, or extension headers, inside': family =>
    buildPacket(family, TCP, {
      ...{ ipOptions: Uint8Array.of(1, 1, 1, 1), flags: FLAG.SYN },
      extensionHeaders: [{ type: 0, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }],
    }),
  'the other family inside': family => buildPacket(family === 4 ? 6 : 4, TCP, { flags: FLAG.SYN }),
  'a TCP header inside that says it is shorter than one can be': family =>
    withByte(buildPacket(family, TCP, { flags: FLAG.SYN }), (family === 4 ? 20 : 40) + 12, 0x40),
  'a TCP header inside that says it is longer than the packet': family =>
    withByte(buildPacket(family, TCP, { flags: FLAG.SYN }), (family === 4 ? 20 : 40) + 12, 0xf0),
  'garbage inside': () => pattern(60),
}

const REFUSALS: Readonly<
  Record<string, readonly [shape: (family: Family) => DatagramShape, reason: string]>
> = {
  'a tag by another key': [() => ({ key: OTHER_KEY }), 'MAPPING_REFUSED'],
  'an unknown key': [() => ({ keyNumber: KEY.number + 1 }), 'MAPPING_REFUSED'],
  'too old': [() => ({ late: -WINDOW_S - 2 }), 'MAPPING_REFUSED'],
  'from the future': [() => ({ late: WINDOW_S + 2 }), 'MAPPING_REFUSED'],
  'the epoch before': [() => ({ epoch: EPOCH - 1 }), 'MAPPING_REFUSED'],
  'the next epoch': [() => ({ epoch: EPOCH + 1 }), 'MAPPING_REFUSED'],
  "another forwarder's tunnel": [() => ({ tunnel: OTHER_TUNNEL[4] }), 'MAPPING_REFUSED'],
  'an unknown tunnel': [() => ({ tunnel: STRANGER[4] }), 'MAPPING_REFUSED'],
  'another sender': [() => ({ from: STRANGER[4] }), 'MAPPING_REFUSED'],
  'from its tunnel address, not its own': [() => ({ from: TUNNEL[4] }), 'NO_MAPPING'],
  'to another address': [() => ({ to: VIP[4] }), 'MAPPING_REFUSED'],
  'identifier 0': [() => ({ identifier: 0 }), 'MAPPING_UNUSUAL'],
  'an unknown port of the VIP': [() => ({ vipPort: 81 }), 'MAPPING_UNUSUAL'],
  'an unknown VIP': [
    family => ({ vip: STRANGER[family], packet: { destination: STRANGER[family], flags: FLAG.SYN } }),
    'MAPPING_UNUSUAL',
  ],
  'a service that this host does not have': [() => ({ vipPort: 1 }), 'MAPPING_UNUSUAL'],
  'no packet inside': [() => ({ inner: null }), 'MAPPING_UNUSUAL'],
  'another port': [() => ({ port: 7412 }), 'NOT_TUNNELLED'],
  ...Object.fromEntries(
    Object.values(KIND)
      .filter(kind => kind !== KIND.MAP)
      .map(kind => [`kind ${kind}`, [() => ({ kind }), 'NOT_TUNNELLED'] as const]),
  ),
  ...Object.fromEntries(
    Object.entries(INNER).map(([name, inner]) => [
      name,
      [(family: Family) => ({ inner: inner(family) }), 'MAPPING_UNUSUAL'] as const,
    ]),
  ),
}

for (const family of FAMILIES)
  test(`IPv${family}: ${Object.keys(REFUSALS).length} kinds of datagrams are left to the agent, and store nothing`, () => {
    // The last service of the world has a number, and no target any more.
    lab.targets.delete(65_535)
    for (const [name, [shape, reason]] of Object.entries(REFUSALS))
      refused(datagram(family, shape(family)).frame, reason, name)
    lab.run(datagram(family).frame)
    assert.is(lab.learnt.some(10).length, 1, 'the control: what is right is learnt')
  })

for (const family of FAMILIES)
  test(`IPv${family}: cut after any byte, nothing is stored`, () => {
    const { frame } = datagram(family, { packet: { flags: FLAG.SYN, payload: pattern(3) } })
    const { at } = headerPlace(family)
    for (let length = 14; length < frame.length; length++)
      refused(frame.slice(0, length), 'TRUNCATED|NOT_TUNNELLED', `${length} bytes`)
    // The datagram shorter than its header says, whole by its outer headers.
    for (let left = 0; left < frame.length - at; left++) {
      const cut = cutPayload(frame.slice(0, at + left), left)
      refused(cut, 'MAPPING_UNUSUAL', `${left} bytes of payload`)
    }
  })

/** Outer lengths and checksum made right for a payload of so many bytes. */
const cutPayload = (frame: Uint8Array, payload: number): Uint8Array => {
  const view = new DataView(frame.buffer, frame.byteOffset)
  view.setUint16(14 + 2, 28 + payload)
  view.setUint16(14 + 20 + 4, 8 + payload)
  view.setUint16(14 + 10, 0)
  let sum = 0
  for (let i = 0; i < 20; i += 2) sum += view.getUint16(14 + i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(14 + 10, ~sum & 0xffff)
  return frame
}

test('the same from an IPv6 address of a forwarder', () => {
  lab.tunnel(6)
  for (const family of FAMILIES) {
    const { frame, inner } = datagram(family, { outer: 6, identifier: IDENTIFIER + family })
    // A header with an IPv6 node in it has IPv6 clients.
    if (family === 4) refused(frame, 'MAPPING_UNUSUAL|MAPPING_REFUSED', 'IPv4 inside')
    else assert.equal(lab.run(frame).data, inner)
  }
})

test('one identifier stands for a flow of one family, until the agent has judged', () => {
  for (const [family, other] of [
    [4, 6],
    [6, 4],
  ] as const) {
    lab.forget()
    lab.run(datagram(family).frame)
    lab.resetCounters()
    const packet = buildFrame(tunnelled(buildPacket(other, TCP, { sourcePort: 40_000 }), other, IDENTIFIER)!)
    assert.equal(lab.run(packet).data, packet)
    assert.equal(lab.counted(), { NO_MAPPING: 1 })
    lab.told()
    refused(datagram(other).frame, 'MAPPING_UNUSUAL', 'of the other family')
  }
})

test('a service is learnt for as far as this node restores it: of one family, of its own port and protocol', () => {
  const inner = (family: Family): Uint8Array =>
    buildPacket(family, TCP, { destinationPort: 8080, flags: FLAG.SYN })
  const shape = (family: Family) => ({ vipPort: 8080, inner: inner(family) })
  const vips = { 4: addressWords(VIP[4]), 6: addressWords(VIP[6]) }
  for (const [family, other] of [
    [4, 6],
    [6, 4],
  ] as const) {
    lab.targets.set(300, [vips[family]], 8080, TCP)
    refused(datagram(other, shape(other)).frame, 'MAPPING_UNUSUAL', `IPv${other}`)
    lab.targets.set(300, [vips[4], vips[6]], 8080, UDP)
    refused(datagram(family, shape(family)).frame, 'MAPPING_UNUSUAL', 'another protocol')
    lab.targets.set(300, [vips[4], vips[6]], 8081, TCP)
    refused(datagram(family, shape(family)).frame, 'MAPPING_UNUSUAL', 'another port')
    lab.targets.set(300, [vips[family]], 8080, TCP)
    lab.run(datagram(family, shape(family)).frame)
    assert.is(lab.told().length, 1)
    lab.forget()
  }
})

test('what contradicts a mapping in force is left to the agent, whichever place that stands in', () => {
  lab.run(datagram(4).frame)
  lab.told()
  const other = (sequence: number): Uint8Array => datagram(4, { clientPort: 40_001, sequence }).frame
  for (const sequence of [76, 78]) refused(other(sequence), 'MAPPING_UNUSUAL', `learnt, sequence ${sequence}`)
  const [learnt] = lab.learnt.some(1)
  lab.mappings[4].put({ tunnel, generation, identifier: IDENTIFIER }, learnt, 0)
  lab.forget()
  for (const sequence of [76, 78]) refused(other(sequence), 'MAPPING_UNUSUAL', `stored, sequence ${sequence}`)
  lab.mappings[4].remove(tunnel, IDENTIFIER)
  // Once it is out, the newer one may come.
  lab.run(other(78))
  assert.equal(lab.told(), [event(FLAG.SYN)])
})

test('a mapping of an earlier generation is no mapping; a tunnel whose word was cleared learns nothing', () => {
  lab.run(datagram(4).frame)
  lab.learn.clear(tunnel)
  lab.told()
  refused(datagram(4, { identifier: IDENTIFIER + 1 }).frame, 'MAPPING_REFUSED', 'cleared')
  lab.tunnels.set({ tunnel: addressWords(TUNNEL[4]), own: addressWords('10.51.0.1') }, tunnel, generation)
})

test('without an agent that renews it, learning ends', () => {
  lab.renew(-1)
  refused(datagram(4).frame, 'NOT_TUNNELLED', 'the grace is over')
  lab.learn.stop()
  refused(datagram(4).frame, 'NOT_TUNNELLED', 'stopped')
  lab.renew(60_000)
  lab.run(datagram(4).frame)
  assert.is(lab.counted().LEARNT, 1)
})

for (const family of FAMILIES)
  test(`IPv${family}: 50,000 datagrams with a damaged header store nothing`, () => {
    const random = integers(seeded(family))
    const sources = [
      datagram(family).frame,
      datagram(family, { packet: { flags: FLAG.ACK, payload: pattern(500) } }).frame,
      datagram(family, { protocol: UDP }).frame,
    ]
    const { at, bytes } = headerPlace(family)
    for (let n = 0; n < 50_000; n++) {
      const source = sources[n % sources.length]
      const frame = source.slice()
      for (let i = random(n & 1 ? 1 : 8); i >= 0; i--) frame[at + random(bytes)] ^= 1 << random(8)
      if (frame.every((byte, i) => byte === source[i])) continue
      const { verdict, data } = lab.run(frame)
      if (verdict !== XDP.pass || Buffer.compare(data, frame) !== 0)
        assert.unreachable(`taken in: ${Buffer.from(frame).toString('hex')}`)
    }
    const counted = lab.counted()
    assert.equal([counted.LEARNT, counted.LEARNT_AGAIN], [undefined, undefined])
    assert.ok(counted.MAPPING_REFUSED > 10_000, JSON.stringify(counted))
    assert.equal(lab.learnt.some(10), [])
    assert.equal(lab.told(), [])
  })

test('events that find no room are counted, and what they were about is found (of 2,000)', () => {
  using small = new XdpLearnLab({ mapping_events: 4096 })
  const many = 2000
  for (let n = 0; n < many; n++)
    small.run(datagram(4, { identifier: IDENTIFIER + n, clientPort: 1024 + n }).frame)
  assert.equal(small.counted(), { LEARNT: many })
  assert.ok(small.learn.lost > many / 2 && small.learn.lost < many, `${small.learn.lost} lost`)
  const told = new Set<number>()
  const tunnels = new TunnelBook()
  tunnels.add(0x0a420001)
  const services = new ServiceNumbers()
  services.replace([{ index: 0, name: 'web', vip: addressWords(VIP[4]), port: 80, protocol: TCP, hosts: [] }])
  tunnels.generations[tunnel] = generation
  const follower = new LearntFollower({
    ...{
      ring: small.ring,
      learnt: small.learnt,
      lost: () => small.learn.lost,
      mappings: [small.mappings[4]],
    },
    ...{ services, tunnels, tick: tickNow },
    learning: { epoch: () => {}, answeredNewer: () => false } as never,
    use: {
      routeUsed: () => {},
      routeGone: () => {},
      mappingUsed: () => {},
      mappingGone: () => {},
      mappingLearnt: ({ identifier, client, ports }) => {
        assert.equal(client, addressWords(CLIENT[4]))
        assert.is(ports >>> 16, 1024 + identifier - IDENTIFIER)
        told.add(identifier)
        small.learnt.delete(tunnel, generation, identifier)
      },
    },
  })
  for (let nowMs = 0; nowMs < 1000; nowMs += 100) follower.sweep(nowMs)
  assert.is(told.size, many)
  assert.equal(small.learnt.some(1), [])
})

it.run()
