import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP, DropCounters } from '../../src/agent/dataplane/drops.ts'
import { isEncapsulated, takeOut, writeOuter } from '../../src/agent/dataplane/encapsulate.ts'
import { parsePacket } from '../../src/agent/dataplane/packet.ts'
import { createPacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { PacketOutput } from '../../src/agent/dataplane/slow-path.ts'
import type { RawSender } from '../../src/os/raw-socket.ts'
import { packetOf } from '../support/cores.ts'
import { buildPacket, PROTOCOLS, TCP, withBytes } from '../support/dataplane-case.ts'
import { FAMILIES, type Family, HOSTS, TUNNEL } from '../support/dataplane-world.ts'
import { OWN } from '../support/host-cases.ts'
import {
  addressWords,
  buildIp4,
  checksumFaults,
  dissect,
  embed,
  FLAG,
  join,
  pattern,
} from '../support/packets.ts'
import { CARRIED, ECN, wrapped } from '../support/whole-packets.ts'

const it = suite('full encapsulation (R-A4)')

const put = (inner: Uint8Array, family: Family): Uint8Array => {
  const head = new Uint8Array(family === 4 ? 20 : 40)
  writeOuter(head, inner, 0, inner.length, addressWords(TUNNEL[family]), addressWords(OWN[family]))
  return join(head, inner)
}

/** As the ring gives it: the outer one parsed, and refused for its protocol. */
const take = (packet: Uint8Array, at = 7): { reason: number; inner: Uint8Array | null } => {
  const ref = createPacketRef()
  const buf = embed(packet, at)
  const reason = parsePacket(buf, at, packet.length, ref.view)
  if (reason !== DROP.UNSUPPORTED_PROTOCOL || !isEncapsulated(ref)) return { reason, inner: null }
  const taken = takeOut(Object.assign(ref, { buf, offset: at }))
  return {
    reason: taken,
    inner: taken === DROP.NONE ? ref.buf.slice(ref.offset, ref.offset + ref.length) : null,
  }
}

it('the outer header is that of RFC 2003 and RFC 2473, and comes off again', () => {
  for (const family of FAMILIES)
    for (const protocol of PROTOCOLS)
      for (const dontFragment of [true, false]) {
        const inner = buildPacket(family, protocol, {
          trafficClass: 0xb9,
          dontFragment,
          payload: pattern(99),
        })
        const outer = wrapped(inner, family, {
          trafficClass: 0xb9,
          ...(family === 4 ? { dontFragment } : {}),
        })
        assert.equal(put(inner, family), outer)
        assert.equal(take(outer), { reason: DROP.NONE, inner })
      }
})

it('marks of congestion are carried over (RFC 6040)', () => {
  for (const outer of FAMILIES)
    for (const family of FAMILIES)
      for (const inside of Object.values(ECN))
        for (const outside of Object.values(ECN)) {
          const at = (ecn: number): Uint8Array => buildPacket(family, TCP, { trafficClass: 0xb8 | ecn })
          const { reason, inner } = take(wrapped(at(inside), outer, { trafficClass: outside }))
          const carried = CARRIED[inside]![outside]!
          assert.is(reason, carried === null ? DROP.CONGESTION_LOST : DROP.NONE)
          assert.equal(inner, carried === null ? null : at(carried))
        }
})

it('what is inside is whole, no fragment, of the family that is said, and TCP or UDP', () => {
  for (const family of FAMILIES) {
    const inner = buildPacket(family, TCP, { payload: pattern(5) })
    const reasonOf = (packet: Uint8Array): number => take(wrapped(packet, family)).reason
    for (let cut = 1; cut < inner.length; cut++)
      assert.is.not(take(join(wrapped(inner.slice(0, cut), family))).reason, DROP.NONE, `${cut}`)
    assert.is(reasonOf(buildPacket(family, TCP, { moreFragments: true })), DROP.FRAGMENT)
    assert.is(reasonOf(withBytes(inner, 0, 0x55)), DROP.BAD_VERSION)
    assert.is(reasonOf(wrapped(inner, family)), DROP.UNSUPPORTED_PROTOCOL)
    assert.is(take(wrapped(inner, family, { moreFragments: true })).inner, null)
    const six = wrapped(inner, 6)
    assert.is(take(withBytes(six, 6, six[6] === 4 ? 41 : 4)).reason, DROP.BAD_VERSION)
  }
  assert.is(take(wrapped(buildIp4(47, pattern(30)), 4)).reason, DROP.UNSUPPORTED_PROTOCOL)
})

it('the slow path sends whole packets: cut to size, checksums complete, and none larger than the way allows', () => {
  const sent: Uint8Array[] = []
  const raw = {
    queue: (buf: Uint8Array, offset: number, length: number) => sent.push(buf.slice(offset, offset + length)),
    flush: () => 0,
  } as unknown as RawSender
  const drops = new DropCounters()
  const output = new PacketOutput(raw, null, drops, 2048)
  const [tunnel, host] = [addressWords(TUNNEL[4]), addressWords(HOSTS.redirected.address[4])]
  const of = (payload: number, more = {}): ReturnType<typeof packetOf> =>
    packetOf(buildPacket(4, TCP, { payload: pattern(payload), ...more }))
  for (const payload of [1440, 1441]) output.encapsulate(of(payload), tunnel, host, 1500)
  assert.equal(
    sent.map(packet => packet.length),
    [1500],
  )
  assert.is(drops.counts[DROP.TOO_BIG], 1)
  const merged = Object.assign(of(3000, { partialChecksum: true, flags: FLAG.ACK | FLAG.PSH }), {
    gsoSize: 1400,
    gsoType: 1,
    partialChecksum: true,
  })
  output.encapsulate(merged, tunnel, host, 1500)
  const segments = sent.slice(1).map(packet => packet.subarray(20))
  assert.equal(
    segments.map(packet => dissect(packet).payload.length),
    [1400, 1400, 200],
  )
  for (const packet of segments) assert.equal(checksumFaults(packet), [])
  assert.equal(join(...segments.map(packet => dissect(packet).payload)), pattern(3000))
  const partial = Object.assign(of(10, { partialChecksum: true }), { partialChecksum: true })
  output.encapsulate(partial, tunnel, host, 1500)
  assert.equal(checksumFaults(sent.at(-1)!.subarray(20)), [])
})

it.run()
