/** Gathers what this node knows of a flow: packet path, routes and sockets of the kernel. Looks only. */
import { endpointOf } from '../config/service-endpoint.ts'
import type { TraceData, TraceQuery } from '../control/types.ts'
import { links, routeGet } from '../os/netlink/route.ts'
import { findSocket } from '../os/netlink/sock-lookup.ts'
import { formatAddress, formatEndpoint } from './dataplane/flow-key.ts'
import type { PacketSide } from './packet-side.ts'
import { nameTrace, traceOutcome } from './trace-answer.ts'
import { endOf, flowKeyOf } from './trace-key.ts'

/** No way there, or none that the kernel tells: null. */
const nextHop = (address: string): TraceData['nextHop'] => {
  try {
    const { interfaceIndex, gateway } = routeGet(address)
    const found = links().find(({ index }) => index === interfaceIndex)
    return found === undefined ? null : { address: gateway ?? address, interface: found.name }
  } catch {
    return null
  }
}

/** Of the connection; else one that waits at the VIP, or where the service's application listens instead. */
const socketOf = ({ config }: PacketSide, { protocol, vip, client }: TraceQuery): string | null => {
  const [own, other] = [endOf(vip), endOf(client)]
  const socket = findSocket(protocol, own, other)
  if (socket !== null) return socket
  const service = config.services.find(
    each => each.protocol === protocol && each.port === own.port && each.vip === own.address,
  )
  const endpoint = service === undefined ? null : endpointOf(service, config.node.name, config.addresses)
  return endpoint === null ? null : findSocket(protocol, endpoint, other)
}

export const traceHere = async (packets: PacketSide, query: TraceQuery): Promise<TraceData> => {
  const { directory, dataplane, config } = packets
  const key = flowKeyOf(query)
  const look = await dataplane.trace(key)
  const isHost = look.mappings !== null
  const socket = isHost ? socketOf(packets, query) : null
  const named = nameTrace(
    { ...query, client: formatEndpoint(key, 0, key[8] >>> 16), vip: formatEndpoint(key, 4, key[8] & 0xffff) },
    look,
    directory,
    packets.dataplaneText(dataplane.xdp),
    socket,
  )
  const outcome = traceOutcome(named, config.node.name)
  const host = directory.hosts.find(({ name }) => name === outcome.host)
  const hop = outcome.verdict === 'forwarded' && host ? nextHop(formatAddress(host.words, 0)) : null
  return { ...named, ...outcome, nextHop: hop }
}
