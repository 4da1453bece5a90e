import { HEAP, within } from './columns.ts'
import type { DirectoryIndex } from './directory.ts'
import { type EngineParts, type Mutable, PLUMB_AFTER_PACKETS } from './engine-parts.ts'
import { ipv4Word, isIpv4 } from './flow-key.ts'
import type { HeldPackets } from './held.ts'
import { HostCore, type HostSettings } from './host-core.ts'
import { isNeutral } from './identifiers.ts'
import { MappingTable, TUPLE_WORDS } from './mappings.ts'
import type { DataplanePlan } from './messages.ts'

const ASKS_PER_SECOND = 1000
/** Half of the quarantine, so that an old message can never contradict a newer owner of its identifier. */
const timeWindowS = (quarantineMs: number): number =>
  Math.max(1, Math.min(30, Math.floor(quarantineMs / 2000)))

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
): { core: HostCore; settings: Mutable<HostSettings> } => {
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
    commitAfterPackets: PLUMB_AFTER_PACKETS,
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
      drop: reason => drops.add(reason),
    },
  })
  return { core, settings }
}
