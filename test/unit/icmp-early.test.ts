/** Errors about packets of flows that the kernel began, and that the agent has not been told of when the error comes (R-A7, R-G3). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP, DropCounters } from '../../src/agent/dataplane/drops.ts'
import { IcmpForwarder } from '../../src/agent/dataplane/icmp-forwarder.ts'
import { IcmpSide } from '../../src/agent/dataplane/icmp-side.ts'
import { createPacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { readRingPacket } from '../../src/agent/dataplane/slow-path.ts'
import { buildIcmp } from '../support/icmp.ts'
import { addressWords, buildTcp4, pattern } from '../support/packets.ts'

const it = suite('ICMP errors that are faster than the kernel’s word')
const [CLIENT, VIP, TUNNEL, HOST] = ['10.20.0.5', '10.99.0.1', '10.10.1.11', '10.10.0.71'] as const
const IDENTIFIER = 0x0102_0304

const arrives = (told: boolean): { sent: number; dropped: number; heard: number } => {
  const drops = new DropCounters()
  const side = new IcmpSide(drops)
  const seen = { sent: 0, heard: 0 }
  side.forwarder = new IcmpForwarder({
    flows: {
      table: {
        keys: Uint32Array.from([
          ...addressWords(CLIENT),
          ...addressWords(VIP),
          ((40_000 << 16) | 80) >>> 0,
          6,
        ]),
      },
      host: [1],
    } as never,
    identifiers: {
      owner: (identifier: number) => (identifier === IDENTIFIER && told && seen.heard > 0 ? 0 : -1),
    } as never,
    directory: { isVip: () => false } as never,
    route: () => -1,
    hear: () => seen.heard++,
    ports: { send: () => seen.sent++, deliverLocal: () => {}, drop: reason => drops.add(reason) },
    settings: {
      tunnel: () => addressWords(TUNNEL),
      host: () => addressWords(HOST),
      router: () => undefined,
    },
    ...{ k0: 1, k1: 2 },
  })
  const about = buildTcp4({
    ...{
      source: TUNNEL,
      destination: HOST,
      sourcePort: IDENTIFIER >>> 16,
      destinationPort: IDENTIFIER & 0xffff,
    },
    ...{ payload: pattern(1440), sequence: 99, dontFragment: true },
  })
  const bytes = buildIcmp(4, {
    ...{ source: '192.0.2.254', destination: TUNNEL, type: 3, code: 4, word: 1400 },
    body: about.slice(0, 548),
  })
  const packet = createPacketRef()
  assert.is(readRingPacket(packet, bytes, 0, bytes.length, -1), DROP.NONE)
  side.packet(packet, undefined, 0)
  return { ...seen, dropped: drops.counts[DROP.ICMP_NO_FLOW]! }
}

it('what the kernel has told meanwhile is heard before it is given up', () => {
  assert.equal(arrives(true), { sent: 1, heard: 1, dropped: 0 })
})

it('nobody’s identifier: dropped, counted', () => {
  assert.equal(arrives(false), { sent: 0, heard: 1, dropped: 1 })
})

it.run()
