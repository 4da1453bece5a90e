/** What the forwarder takes from a packet, the host gives back: for any packet that both take, each run in the kernel. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { decrementTtl } from '../../src/agent/dataplane/rewrite.ts'
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { missingBpf } from '../support/bpf.ts'
import { buildPacket, identifierOf, neutralIdentifier, type PacketShape } from '../support/dataplane-case.ts'
import { FAMILIES, HOSTS, SERVICES, TUNNEL } from '../support/dataplane-world.ts'
import { buildFrame, packetOffset } from '../support/ethernet.ts'
import { removeNetns } from '../support/netns.ts'
import { addressBytes, addressWords, checksumFaults, FLAG, join, pattern } from '../support/packets.ts'
import { testIf } from '../support/skip.ts'
import { ROLE, XdpHostLab } from '../support/xdp-host-lab.ts'
import { XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/identity')
const noBpf = missingBpf()
const HOST = HOSTS.redirected
let forwarder: XdpLab
let host: XdpHostLab

it.before(async () => {
  if (noBpf !== undefined) return
  forwarder = await XdpLab.open()
  host = new XdpHostLab()
  for (const family of FAMILIES)
    host.tunnels.set({ tunnel: addressWords(TUNNEL[family]), own: addressWords(HOST.address[family]) }, 1, 5)
  host.roles(ROLE.host | ROLE.forwarder)
})
it.after(async () => {
  forwarder?.close()
  host?.close()
  await removeNetns()
})

const port = fc.integer({ min: 0, max: 0xffff })
const extension = fc.constantFrom(
  { type: 60, body: Uint8Array.of(1, 4, 0, 0, 0, 0) },
  { type: 60, body: pattern(22) },
  { type: 44, body: Uint8Array.of(0, 0, 9, 9, 9, 9) },
  { type: 43, body: Uint8Array.of(2, 0, 0, 0, 0, 0) },
)
const arbitraryPacket = fc.record({
  family: fc.constantFrom(...FAMILIES),
  service: fc.constantFrom(...SERVICES.filter(({ number }) => number !== 65535)),
  client: fc.integer({ min: 1, max: 0xffffffff }),
  sourcePort: port,
  payload: fc.uint8Array({ maxLength: 1200, size: 'max' }),
  noChecksum: fc.boolean(),
  flags: fc.integer({ min: 0, max: 255 }).map(flags => flags & ~(FLAG.SYN | FLAG.FIN | FLAG.RST)),
  ttl: fc.integer({ min: 2, max: 255 }),
  trafficClass: fc.nat(255),
  tcpOptions: fc.nat(10).map(words => pattern(4 * words)),
  ipOptions: fc.nat(10).map(words => pattern(4 * words)),
  // One fragment header at most is allowed.
  extensionHeaders: fc.uniqueArray(extension, {
    maxLength: 4,
    selector: ({ type, body }) => `${type} ${body.length}`,
  }),
  padding: fc.nat(20),
  tags: fc.array(fc.record({ type: fc.constantFrom(0x8100, 0x88a8), tci: port }), { maxLength: 2 }),
  low: fc.integer({ min: 1, max: 0xffffff }),
  neutral: fc.boolean(),
})

testIf(noBpf, it, 'a packet arrives as it was sent, one hop later, with all its checksums right', () => {
  const seen = { 4: 0, 6: 0, neutral: 0, fixed: 0 }
  fc.assert(
    fc.property(arbitraryPacket, ({ family, service, client, tags, low, neutral, ...given }) => {
      const protocol = service.protocol
      const bytes = Uint8Array.of(client >>> 24, client >>> 16, client >>> 8, client)
      const source =
        family === 4
          ? bytes.join('.')
          : `2001:db8::${Buffer.from(bytes).toString('hex').replace(/^..../, '$&:')}`
      const shape: PacketShape = {
        ...given,
        source,
        destination: service.vip[family],
        destinationPort: service.port,
      }
      const packet = buildPacket(family, protocol, shape)
      const identifier = neutral
        ? neutralIdentifier(HOST.index, given.sourcePort, service.port, low)
        : identifierOf(HOST.index, low)
      const route = {
        client: source,
        port: given.sourcePort,
        service: service.number,
        identifier,
        mapped: true,
        state: ROUTE_STATE.ESTABLISHED,
      }
      forwarder.addRoute(family, route)
      const content = { client: addressWords(source), port: given.sourcePort, service: service.number }
      host.mappings[family].put({ tunnel: 1, generation: 5, identifier }, content, 0)
      forwarder.resetCounters()
      host.resetCounters()
      try {
        const frame = buildFrame(packet, { tags })
        const way = forwarder.netns.run(() => forwarder.run(frame)).data
        assert.equal(forwarder.counted(), { REDIRECTED: 1 })
        const sent = way.slice(packetOffset(0))
        const { data } = host.run(way, 'edge_both')
        assert.equal(host.counted(), { RESTORED: 1 })

        const at = family === 4 ? 12 : 8
        const ends = join(addressBytes(TUNNEL[family]), addressBytes(HOST.address[family]))
        assert.equal(sent.slice(at, at + ends.length), ends)
        assert.equal(checksumFaults(sent), [])
        const expected = packet.slice()
        const view = createPacketView()
        assert.is(parsePacket(expected, 0, expected.length, view), 0)
        assert.equal(
          [...sent.slice(view.l4, view.l4 + 4)],
          [24, 16, 8, 0].map(shift => (identifier >>> shift) & 0xff),
        )
        decrementTtl(expected, 0, view)
        assert.equal(data.slice(packetOffset(0)), expected)
        assert.equal(checksumFaults(data.slice(packetOffset(0))), [])
        seen[family]++
        seen[neutral ? 'neutral' : 'fixed']++
      } finally {
        forwarder.removeRoute(family, route)
        host.mappings[family].remove(1, identifier)
      }
    }),
    { numRuns: 400 },
  )
  for (const [what, count] of Object.entries(seen)) assert.ok(count > 50, `${what}: ${count}`)
})

it.run()
