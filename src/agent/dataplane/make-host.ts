import { HEAP, within } from './columns.ts'
import type { DirectoryIndex } from './directory.ts'
import { type EngineParts, type Mutable, PLUMB_AFTER_PACKETS } from './engine-parts.ts'
import { ipv4Word, isIpv4 } from './flow-key.ts'
import type { HeldPackets } from './held.ts'
import { HostCore, type HostSettings } from './host-core.ts'
import { IcmpHost } from './icmp-host.ts'
import { isNeutral } from './identifiers.ts'
import { MappingTable, TUPLE_WORDS } from './mappings.ts'
import type { DataplanePlan } from './messages.ts'
import { timeWindowS } from './time-window.ts'

const ASKS_PER_SECOND = 1000
/** What of the settings follows the timeouts, which another plan may change. */
export const hostSettings = (
  timeouts: DataplanePlan['timeouts'],
): Pick<HostSettings, 'timeouts' | 'timeWindowS'> => ({
  timeouts: {
    embryonic: timeouts.embryonic,
    mapping: timeouts.tcpIdle + timeouts.routeLease,
    linger: timeouts.linger,
    routeLease: timeouts.routeLease,
  },
  timeWindowS: timeWindowS(timeouts.quarantine),
})

/** The host role of a plan, wired to the ports of the data plane. */
export const makeHost = (
  parts: EngineParts,
  plan: DataplanePlan,
  directory: DirectoryIndex,
  held: HeldPackets,
): { core: HostCore; icmp: IcmpHost; settings: Mutable<HostSettings> } => {
  const { output, datagrams, plumber, drops, nowS } = parts
  const mappings = new MappingTable(
    plan.limits.mappings,
    plan.limits.embryonicFlows,
    plan.tableKey[0],
    plan.tableKey[1],
    within('mappings', parts.columns ?? HEAP),
  )
  const { keys } = mappings.table
  const settings: Mutable<HostSettings> = {
    ...hostSettings(plan.timeouts),
    // In the kernel's own tables a mapping costs next to nothing, and what is learnt there must find what the agent has learnt.
    commitAfterPackets: plumber.lasting ? 0 : PLUMB_AFTER_PACKETS,
    asksPerSecond: ASKS_PER_SECOND,
    lasting: plumber.lasting,
  }
  const where = (slot: number) => {
    const identifier = keys[slot * 5 + 4]
    return {
      tunnel: keys[slot * 5 + 3],
      identifier,
      protocol: mappings.tuples[slot * TUPLE_WORDS + 9],
      family: isIpv4(mappings.tuples, slot * TUPLE_WORDS) ? (4 as const) : (6 as const),
      neutral: isNeutral(identifier, mappings.tuples[slot * TUPLE_WORDS + 8]),
    }
  }
  const core = new HostCore({
    mappings,
    directory,
    held,
    settings,
    ports: {
      restore: (packet, slot) => output.restore(packet, mappings.tuples, slot * TUPLE_WORDS),
      inject: packet => {
        // The acknowledgement goes first: what the packet sets off (a SYN-ACK, the client's answer) is faster than
        // the end of this turn, and finds the forwarder ready to tunnel.
        datagrams.flush()
        output.inject(packet)
      },
      datagram: (header, to) => datagrams.send(header, ipv4Word(header.node, 0), to, null, nowS()),
      commit: slot => {
        const at = slot * TUPLE_WORDS
        const { tunnel, identifier, neutral } = where(slot)
        const { routeLease } = settings.timeouts
        plumber.mapping(slot, tunnel, identifier, mappings.tuples, at, neutral, routeLease)
      },
      withdraw: slots => plumber.unmap(slots.map(where)),
      withdrawTunnel: tunnel => plumber.unmapTunnel(tunnel),
      epoch: (tunnel, epoch) => plumber.learning?.epoch(tunnel, epoch),
      supersedes: (tunnel, epoch, identifier, sequence) =>
        plumber.learning?.supersedes(tunnel, epoch, identifier, sequence) ?? false,
      forget: (tunnel, identifier) => plumber.learning?.forget(tunnel, identifier),
      usedMs: (slot, nowMs) => plumber.learning?.usedMs(keys[slot * 5 + 3], keys[slot * 5 + 4], nowMs) ?? 0,
      drop: reason => drops.add(reason),
    },
  })
  const icmp = new IcmpHost({
    mappings,
    find: (tunnel, identifier) => core.mappingOf(tunnel, identifier),
    ports: { inject: packet => output.inject(packet), drop: reason => drops.add(reason) },
  })
  return { core, icmp, settings }
}
