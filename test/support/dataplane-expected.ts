/** What must leave for a frame that is forwarded: by the agent's own rewriting, whose twin each data plane is. */
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { decrementTtl, rewriteTuple } from '../../src/agent/dataplane/rewrite.ts'
import type { CaseRoute } from './dataplane-case.ts'
import { type Family, TUNNEL, VLAN_TAG, type WorldHost } from './dataplane-world.ts'
import { buildFrame, mac, packetOffset } from './ethernet.ts'
import { addressWords } from './packets.ts'

export interface Forwarded {
  readonly family: Family
  readonly frame: Uint8Array
  readonly tags: number
  readonly route: CaseRoute | null
  readonly host: WorldHost | null
}

/** The hardware address of the interface that a host's frames leave by. */
export type SourceOf = (host: WorldHost) => Uint8Array

export const expectedFrame = (
  { family, frame, tags, route, host }: Forwarded,
  sourceOf: SourceOf,
): Uint8Array => {
  const address = host?.address[family]
  if (route === null || host?.neighbour === undefined || address === undefined)
    throw new Error('such a case is not forwarded')
  const packet = frame.slice(packetOffset(tags))
  const view = createPacketView()
  const reason = parsePacket(packet, 0, packet.length, view)
  if (reason !== DROP.NONE) throw new Error(`the agent would refuse the packet: reason ${reason}`)
  rewriteTuple(
    packet,
    0,
    view,
    addressWords(TUNNEL[family]),
    0,
    addressWords(address),
    0,
    route.identifier,
    false,
  )
  if (!decrementTtl(packet, 0, view)) throw new Error('the agent would refuse its TTL')
  return buildFrame(packet, {
    source: sourceOf(host),
    destination: mac(host.neighbour),
    tags: host.exit === 'vlan' ? [VLAN_TAG] : [],
  })
}
