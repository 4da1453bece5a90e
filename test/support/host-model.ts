/** What must become of any frame whatsoever at a host, by the agent's own parser and rewriting: the oracle of mutated packets. */
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { rewriteTuple } from '../../src/agent/dataplane/rewrite.ts'
import { type Family, SERVICES, TUNNEL } from './dataplane-world.ts'
import { ETHERTYPE, packetOffset } from './ethernet.ts'
import { type CaseMapping, OTHER_TUNNEL, OWN } from './host-cases.ts'
import { addressBytes, addressWords, FLAG } from './packets.ts'

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const word16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1]
const PAIRS = ([4, 6] as const).flatMap(family =>
  (
    [
      ['first', TUNNEL],
      ['other', OTHER_TUNNEL],
    ] as const
  ).map(([name, tunnel]) => ({
    family,
    name,
    ends: hexOf(Uint8Array.from([...addressBytes(tunnel[family]), ...addressBytes(OWN[family])])),
  })),
)

/** The frame when it was restored, or null when it passes as it came. @param mappings those of both families, none outdated */
export const restoredFrame = (
  frame: Uint8Array,
  mappings: readonly (CaseMapping & { readonly family: Family })[],
): Uint8Array | null => {
  let tags = 0
  while (
    tags < 2 &&
    [ETHERTYPE.vlan, ETHERTYPE.serviceVlan].some(type => type === word16(frame, 12 + 4 * tags))
  )
    tags++
  const at = packetOffset(tags)
  if (frame.length < at) return null
  const type = word16(frame, at - 2)
  const family = type === ETHERTYPE.ipv4 ? 4 : type === ETHERTYPE.ipv6 ? 6 : null
  const after = frame.slice()
  const packet = after.subarray(at)
  const view = createPacketView()
  if (family === null || parsePacket(packet, 0, packet.length, view) !== DROP.NONE) return null
  if (view.family !== family || view.fragment || (view.tcpFlags & FLAG.SYN) !== 0) return null
  const ends = hexOf(family === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40))
  const tunnel = PAIRS.find(pair => pair.family === family && pair.ends === ends)?.name
  const identifier = view.sourcePort * 65536 + view.destinationPort
  const mapping = mappings.find(
    one => one.family === family && one.tunnel === tunnel && one.identifier === identifier,
  )
  const service = SERVICES.find(({ number }) => number === mapping?.service)
  if (mapping === undefined || service === undefined || service.protocol !== view.protocol) return null
  const [client, vip] = [mapping.client, service.vip[family]].map(addressWords)
  rewriteTuple(packet, 0, view, client, 0, vip, 0, (mapping.port << 16) | service.port, false)
  return after
}
