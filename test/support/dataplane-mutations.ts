/** Packets that are nearly right: the ones that find what a parser forgot. */
import { type DataplaneCase, flowCase, TCP, UDP, withHeaderChecksum } from './dataplane-case.ts'
import { FAMILIES } from './dataplane-world.ts'
import { ETHERTYPE, type VlanTag } from './ethernet.ts'
import { pattern } from './packets.ts'

const TAGS: readonly VlanTag[] = [
  { type: 0x88a8, tci: 9 },
  { type: 0x8100, tci: 5 },
]
const OPTIONS = { type: 60, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }
const HOP_BY_HOP = { type: 0, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }
const ROUTING = { type: 43, body: Uint8Array.of(2, 0, 0, 0, 0, 0) }
const ATOMIC = { type: 44, body: Uint8Array.of(0, 0, 9, 9, 9, 9) }

/** Good packets of flows with routes, of every kind of header; and some that are dropped. */
export const mutationSources = (): DataplaneCase[] =>
  FAMILIES.flatMap(family =>
    ([TCP, UDP] as const).flatMap((protocol, i) => {
      const port = 41000 + i
      const plain = { sourcePort: port, payload: pattern(11) }
      return [
        flowCase('plain', family, protocol, { packet: plain }),
        flowCase('options', family, protocol, {
          host: 'sentBack',
          packet: {
            ...plain,
            sourcePort: port + 10,
            tcpOptions: pattern(12),
            ipOptions: pattern(12),
            extensionHeaders: [HOP_BY_HOP, OPTIONS, ROUTING, ATOMIC],
          },
        }),
        flowCase('tagged', family, protocol, {
          host: 'vlan',
          packet: { ...plain, sourcePort: port + 20, padding: 5 },
          frame: { tags: TAGS.slice(0, 1) },
        }),
        flowCase('tagged twice', family, protocol, {
          packet: { ...plain, sourcePort: port + 30, noChecksum: true },
          frame: { tags: TAGS },
        }),
        flowCase('no service', family, protocol, {
          packet: { ...plain, destinationPort: 9999 },
          route: null,
        }),
      ]
    }),
  )

/** Mostly in the headers, where it matters. */
const place = (length: number, random: (below: number) => number): number =>
  random(4) === 0 ? random(length) : Math.min(length - 1, 12 + random(60))

/** A copy with up to four changes; an IPv4 header's checksum is made right again in half of them, or none would get any further. */
export const mutate = (frame: Uint8Array, random: (below: number) => number): Uint8Array => {
  let copy = frame.slice()
  for (let left = random(4); left >= 0; left--)
    switch (random(6)) {
      case 0:
        copy = copy.slice(0, Math.max(14, random(copy.length + 1)))
        break
      case 1: {
        const longer = new Uint8Array(copy.length + random(40))
        longer.set(copy)
        copy = longer
        break
      }
      case 2:
        copy[place(copy.length, random)] ^= 1 << random(8)
        break
      case 3:
        copy[place(copy.length, random)] = random(256)
        break
      case 4:
        copy[place(copy.length, random)] = [0, 1, 4, 5, 6, 17, 40, 43, 44, 60, 0x45, 0x60, 0x81, 0xff][
          random(14)
        ]
        break
      default:
        // As it was.
        break
    }
  return random(2) === 0 ? copy : healed(copy)
}

const healed = (frame: Uint8Array): Uint8Array => {
  for (const at of [14, 18, 22])
    if (frame.length >= at + 20 && ((frame[at - 2] << 8) | frame[at - 1]) === ETHERTYPE.ipv4) {
      const packet = withHeaderChecksum(frame.subarray(at))
      const copy = frame.slice()
      copy.set(packet, at)
      return copy
    }
  return frame
}
