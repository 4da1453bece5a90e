/** What must become of any frame whatsoever, by the agent's own parser: the oracle of random and mutated packets. */
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import type { CaseRoute, Fate } from './dataplane-case.ts'
import { type Family, HOSTS, OPEN_VIP, SERVICES, STRANGER, VIP, type WorldHost } from './dataplane-world.ts'
import { ETHERTYPE } from './ethernet.ts'
import { addressBytes, FLAG } from './packets.ts'

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const word16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1]
const ADDRESSES = new Map(
  ([4, 6] as const).flatMap(family =>
    [VIP, OPEN_VIP, STRANGER].map((address): [string, string] => [
      hexOf(addressBytes(address[family])),
      address[family],
    ]),
  ),
)

export interface Judgement {
  readonly fate: Fate
  readonly family: Family
  readonly tags: number
  readonly route: CaseRoute | null
  readonly host: WorldHost | null
}

/** @param routes all that there are; each leads to a host of HOSTS that can be reached */
export const judge = (frame: Uint8Array, routes: readonly CaseRoute[]): Judgement => {
  let at = 12
  while ((word16(frame, at) === ETHERTYPE.vlan || word16(frame, at) === ETHERTYPE.serviceVlan) && at < 20)
    at += 4
  const tags = (at - 12) / 4
  const passed: Judgement = { fate: 'passed', family: 4, tags, route: null, host: null }
  const type = at + 2 <= frame.length ? word16(frame, at) : 0
  const family = type === ETHERTYPE.ipv4 ? 4 : type === ETHERTYPE.ipv6 ? 6 : null
  const packet = frame.subarray(at + 2)
  const view = createPacketView()
  if (family === null || parsePacket(packet, 0, packet.length, view) !== DROP.NONE) return passed
  if (view.family !== family || view.fragment) return passed
  const address = (from: number): Uint8Array => packet.subarray(from, from + (family === 4 ? 4 : 16))
  const destination = ADDRESSES.get(hexOf(address(family === 4 ? 16 : 24)))
  const service = SERVICES.find(
    one =>
      one.vip[family] === destination && one.port === view.destinationPort && one.protocol === view.protocol,
  )
  if (service === undefined) return destination === VIP[family] ? { ...passed, fate: 'dropped' } : passed
  if ((view.tcpFlags & (FLAG.SYN | FLAG.FIN | FLAG.RST)) !== 0 || view.ttl <= 1) return passed
  if ((frame[0] & 1) !== 0) return passed
  const client = hexOf(address(family === 4 ? 12 : 8))
  const route = routes.find(
    one =>
      one.service === service.number &&
      one.port === view.sourcePort &&
      one.mapped &&
      hexOf(addressBytes(one.client)) === client,
  )
  if (route === undefined) return passed
  const host = Object.values<WorldHost>(HOSTS).find(({ index }) => index === route.identifier >>> 24)
  return { fate: 'forwarded', family, tags, route, host: host ?? null }
}
