/**
 * What the packet path of this node knows of a flow (`shunt trace`): looks only. Nothing is sent, nothing counts as use, nothing is used
 * up. Indexes, not names: the agent's main thread has those.
 */
import type { FlowOrigin } from '../../control/types.ts'
import type { Explanation } from '../classify/explain.ts'
import type { Engine } from './engine.ts'
import { addressEquals, formatAddress, isIpv4 } from './flow-key.ts'
import { FLOW_FLAG } from './flows.ts'
import { MAPPING_LIST, TUPLE_WORDS } from './mappings.ts'
import { ORIGIN_NAMES } from './origin-names.ts'
import { STATES } from './snapshot.ts'

/** Slots of a host's mappings that one question looks at: some milliseconds at most. */
const MAX_SCAN = 1_000_000
const MAX_MAPPINGS = 16

export interface KernelRoute {
  readonly by: 'xdp' | 'nftables'
  readonly host: number
  readonly identifier: number
  /** ROUTE_STATE of xdp/route-layout.ts. */
  readonly state: number
  readonly mapped: boolean
  readonly idleMs: number | null
}

export interface FlowLook {
  readonly host: number
  readonly identifier: number
  readonly state: (typeof STATES)[keyof typeof STATES]
  readonly mapped: boolean
  readonly plumbed: boolean
  readonly origin: FlowOrigin
  readonly slowPackets: number
  readonly idleMs: number
  readonly inactive: boolean
}

export interface MappingLook {
  readonly tunnel: string
  readonly identifier: number
  readonly state: 'embryonic' | 'established' | 'closing' | 'committed'
  readonly idleMs: number
  readonly kernel: 'xdp' | 'nftables' | null
}

export interface TraceLook {
  readonly inForce: boolean
  /** Index; null: no service on this port and protocol. */
  readonly service: number | null
  readonly forwarder: boolean
  readonly kernel: KernelRoute | null
  readonly flow: FlowLook | null
  readonly choice: Explanation | null
  readonly classifier: string | null
  /** Null where the node is no host. */
  readonly mappings: readonly MappingLook[] | null
}

/** What XDP's tables say; null where it is not in force. */
export interface KernelLooks {
  route(key: Uint32Array): KernelRoute | null
  mapping(tunnel: number, identifier: number, family: 4 | 6): boolean
}

/** @param key ten words, see flow-key.ts */
export const traceFlow = (
  engine: Engine,
  xdp: KernelLooks | null,
  key: Uint32Array,
  nowMs: number,
): TraceLook => {
  const { directory, forwarder, plan } = engine
  const services = directory.directory.services.filter(({ vip }) => addressEquals(vip, 0, key, 4))
  const port = key[8] & 0xffff
  const service = services.find(each => each.port === port && each.protocol === key[9])
  const chooses = plan.classifier || (plan.forwarder?.hasClassifier ?? false)
  const flow = flowLook(engine, key, nowMs)
  return {
    inForce: services.length > 0,
    service: service?.index ?? null,
    forwarder: forwarder !== null,
    kernel: xdp === null ? plumbed(flow) : xdp.route(key),
    flow,
    choice: chooses && service !== undefined ? engine.affinity.explain(service, key, 0) : null,
    classifier:
      forwarder === null || plan.forwarder?.hasClassifier ? null : (directory.classifier()?.name ?? null),
    mappings: engine.host === null ? null : mappingLooks(engine, xdp, key, nowMs),
  }
}

const flowLook = ({ forwarder, directory }: Engine, key: Uint32Array, nowMs: number): FlowLook | null => {
  if (forwarder === null) return null
  const { flows } = forwarder
  const slot = flows.table.find(key)
  if (slot < 0) return null
  const host = flows.host[slot]
  return {
    host,
    identifier: flows.identifier[slot],
    state: STATES[flows.table.listOf(slot) as keyof typeof STATES],
    // A host that is this node needs none.
    mapped: flows.has(slot, FLOW_FLAG.MAPPED) || directory.host(host)?.self === true,
    plumbed: flows.plumbedUntilMs[slot] > nowMs,
    origin: ORIGIN_NAMES[flows.origin[slot]],
    slowPackets: flows.slowPackets[slot],
    idleMs: Math.max(0, Math.round(nowMs - flows.table.lastUse[slot])),
    inactive: directory.isInactive(flows.service[slot], host),
  }
}

/** nftables is not asked: what the agent put there, and when its lease ends, it knows. */
const plumbed = (flow: FlowLook | null): KernelRoute | null =>
  flow?.plumbed
    ? { by: 'nftables', host: flow.host, identifier: flow.identifier, state: 2, mapped: true, idleMs: null }
    : null

const MAPPING_STATES = {
  [MAPPING_LIST.EMBRYONIC]: 'embryonic',
  [MAPPING_LIST.ESTABLISHED]: 'established',
  [MAPPING_LIST.CLOSING]: 'closing',
  [MAPPING_LIST.COMMITTED]: 'committed',
} as const

/** Several forwarders may have one each: their router may have changed its mind. */
const mappingLooks = (
  { host }: Engine,
  xdp: KernelLooks | null,
  key: Uint32Array,
  nowMs: number,
): MappingLook[] => {
  const found: MappingLook[] = []
  if (host === null) return found
  const { mappings } = host
  const { table } = mappings
  let scanned = 0
  for (const list of Object.values(MAPPING_LIST))
    for (let slot = table.oldest(list); slot >= 0 && scanned < MAX_SCAN; slot = table.newer(slot)) {
      scanned++
      // The ports first: they differ in nearly all of them.
      if (mappings.tuples[slot * TUPLE_WORDS + 8] !== key[8] || !mappings.sameTuple(slot, key)) continue
      const at = slot * 5
      const identifier = table.keys[at + 4]
      const family = isIpv4(key, 0) ? 4 : 6
      const byXdp = isIpv4(table.keys, at) && xdp?.mapping(table.keys[at + 3], identifier, family)
      const byRules = xdp === null && mappings.committedUntilMs[slot] > nowMs
      found.push({
        tunnel: formatAddress(table.keys, at),
        identifier,
        state: MAPPING_STATES[list],
        idleMs: Math.max(0, Math.round(nowMs - table.lastUse[slot])),
        kernel: byXdp ? 'xdp' : byRules ? 'nftables' : null,
      })
      if (found.length === MAX_MAPPINGS) return found
    }
  return found
}
