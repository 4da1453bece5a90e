/** Times and limits of health and load, and what the cluster document in force makes of them. Pure. */
import type { NodeConfig } from '../../config/schema.ts'
import type { HealthNodePolicy, HealthNodeSettings } from '../../health/node.ts'
import { BEAT_MS, LEASE_BEATS } from '../../health/types.ts'

/** Where leaders pass on changes only, each of so many beats all the same. */
const FORWARD_EVERY = 10
const DNS_EVERY = 30
/** Load as R-B4 wants it: one to four times a minute, or on a large change. */
export const LOAD = { everyMs: 15_000, step: 5, jump: 25 }

/** What may change while the agent runs. */
export const nodePolicy = ({ groups, overload }: NodeConfig): HealthNodePolicy => {
  const isSparse = groups.heartbeats === 'changes'
  return {
    host: {
      leaseBeats: LEASE_BEATS + (isSparse ? FORWARD_EVERY : 0),
      // A leader may have heard of sparse heartbeats before this host: each beat of a short lease asks to go on.
      forwardEvery: isSparse ? FORWARD_EVERY : 1,
      overload,
    },
    group: { mode: groups.heartbeats, directHosts: groups.direct, size: groups.size },
  }
}

/** `formerLeaseBeats`: the longest leases that units may have of this agent's last run; 0: not known. */
export const nodeSettings = (config: NodeConfig, formerLeaseBeats: number): HealthNodeSettings => {
  const { host, group } = nodePolicy(config)
  return {
    name: config.node.name,
    host: {
      ...host,
      formerLeaseBeats,
      beatMs: BEAT_MS,
      dnsName: config.addresses.cluster,
      dnsEvery: DNS_EVERY,
      load: LOAD,
      // Units may hold rows of an earlier run as active: then a directive goes through the protocol.
      isRestart: true,
    },
    group: { ...group, beatMs: BEAT_MS },
  }
}
