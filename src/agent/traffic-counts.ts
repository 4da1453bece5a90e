/** What passed until now by service and by host, of all that count it: the rules of nftables, XDP and the agent itself. Pure. */
import type { Directory, ServiceEntry } from './dataplane/directory.ts'
import { isIpv4 } from './dataplane/flow-key.ts'
import type { WorkerStatus } from './dataplane/messages.ts'
import { numberOf } from './dataplane/xdp/service-numbers.ts'
import type { TrafficCount } from './rates.ts'

interface Counted {
  readonly packets: number
  readonly bytes: number
}
interface CountedKey extends Counted {
  /** Of the kernel's set. */
  readonly key: Uint8Array
}

/** The counters of the rules' elements (nft/ruleset.ts). */
export interface RuleTraffic {
  /** VIP . protocol . port: all that came to a service and that XDP has not taken. */
  readonly services: readonly CountedKey[]
  /** Host index: what the rules sent there. */
  readonly hosts: readonly CountedKey[]
  /** What the rules left to the own stack. */
  readonly local: Counted
}

type Worker = Pick<
  WorkerStatus,
  'edge' | 'hostPackets' | 'hostBytes' | 'hostConnections' | 'serviceConnections'
>

const NONE: Counted = { packets: 0, bytes: 0 }

const add = (...parts: readonly (Counted | undefined)[]): Counted => ({
  packets: parts.reduce((sum, part) => sum + (part?.packets ?? 0), 0),
  bytes: parts.reduce((sum, part) => sum + (part?.bytes ?? 0), 0),
})

/** Under `service NAME` and `host NAME`; what this node does not count by service or by host is left out. */
export const trafficCounts = (
  directory: Directory,
  worker: Worker,
  rules: RuleTraffic,
): Map<string, TrafficCount> => {
  const counts = new Map<string, TrafficCount>()
  const forwards = rules.services.length > 0
  const { edge } = worker
  const byKey = new Map(
    rules.services.map(({ key, ...counted }) => [Buffer.from(key).toString('hex'), counted]),
  )
  const edgeServices = new Map(edge?.byService.map(({ number, ...counted }) => [number, counted]))
  for (const service of directory.services) {
    const counted = byKey.get(serviceKey(service))
    const byEdge = edgeServices.get(numberOf(service))
    if (counted === undefined && byEdge === undefined) continue
    counts.set(`service ${service.name}`, {
      ...add(counted, byEdge),
      connections: forwards ? (worker.serviceConnections[service.index] ?? 0) : null,
    })
  }
  // A node that forwards nothing counts nothing by host.
  if (!forwards) return counts
  // Each family has a map of its own.
  const byIndex = new Map<number, Counted>()
  for (const { key, ...counted } of rules.hosts) byIndex.set(key[0]!, add(byIndex.get(key[0]!), counted))
  const edgeHosts = new Map(edge?.byHost.map(({ number, ...counted }) => [number, counted]))
  for (const { index, name, self } of directory.hosts) {
    const agent = { packets: worker.hostPackets[index] ?? 0, bytes: worker.hostBytes[index] ?? 0 }
    counts.set(`host ${name}`, {
      ...add(byIndex.get(index), edgeHosts.get(index), agent, self ? rules.local : NONE),
      connections: worker.hostConnections[index] ?? 0,
    })
  }
  return counts
}

/** As the kernel has it: network order, each field padded to 4 bytes. */
const serviceKey = ({ vip, protocol, port }: ServiceEntry): string => {
  const words = isIpv4(vip, 0) ? vip.subarray(3) : vip
  const key = Buffer.alloc(4 * words.length + 8)
  for (const [i, word] of words.entries()) key.writeUInt32BE(word, 4 * i)
  key[4 * words.length] = protocol
  key.writeUInt16BE(port, 4 * words.length + 4)
  return key.toString('hex')
}
