import { ATOM_KIND } from '../../dam/types.ts'
import type { Affinity } from '../classify/affinity.ts'
import type { RouteBatch } from './batch.ts'
import { HEAP, within } from './columns.ts'
import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import { outerBytes } from './encapsulate.ts'
import { type EngineParts, type Mutable, PLUMB_AFTER_PACKETS } from './engine-parts.ts'
import type { FirstClients } from './first-clients.ts'
import { ownSequence } from './flow-mapping.ts'
import { FLOW_FLAG, FlowTable } from './flows.ts'
import { ForwarderCore } from './forwarder-core.ts'
import type { ForwarderSettings } from './forwarder-ports.ts'
import type { HeldPackets } from './held.ts'
import { IcmpForwarder } from './icmp-forwarder.ts'
import { IdentifierAllocator } from './identifiers.ts'
import { KIND } from './mapping-header.ts'
import { type DataplanePlan, RESOLVE_WORDS } from './messages.ts'
import type { PacketRef } from './packet-ref.ts'
import type { RouteKind } from './plumber.ts'
import { RecordQueue } from './record-queue.ts'
import { Resolution } from './resolution.ts'

/** Half of them can be in quarantine (ForwarderCore): at least as many again as there can be flows. */
const IDENTIFIERS_PER_FLOW = 4

/** More than the kernel can take after an agent's last word (timeouts.unattended), and so few that the count does not come round. */
const UNSEEN_SEQUENCES = 2 ** 26

/** What outlives the role, or is shared with others. */
export interface ForwarderSurroundings {
  readonly directory: DirectoryIndex
  readonly affinity: Affinity
  readonly clients: Pick<FirstClients, 'hold'>
  readonly held: HeldPackets
  /** Of the role before, as long as one of them rests; null: new ones. */
  readonly identifiers: IdentifierAllocator | null
  readonly epoch: number
  /** Takes the flows that ended, for a classifier elsewhere. */
  readonly ended: RouteBatch
  readonly now: () => number
}

/** The forwarder role of a plan, wired to the ports of the data plane. */
export const makeForwarder = (
  parts: EngineParts,
  plan: DataplanePlan,
  own: NonNullable<DataplanePlan['forwarder']>,
  kept: ForwarderSurroundings,
): {
  core: ForwarderCore
  icmp: IcmpForwarder
  settings: Mutable<ForwarderSettings>
  identifiers: IdentifierAllocator
  resolution: Resolution
  /** Flows whose host is asked for, for the main thread. */
  questions: RecordQueue
  /** Several times a second: what the next agent goes on from. */
  keep: () => void
} => {
  const { directory } = kept
  const { output, datagrams, plumber, drops, kernel, nowS } = parts
  const { limits, timeouts, mtuBytes, tableKey } = plan
  const [k0, k1] = tableKey
  const capacity = IDENTIFIERS_PER_FLOW * (limits.flows + limits.embryonicFlows)
  const { columns = HEAP, continued = false } = parts
  const quarantineMs = timeouts.quarantine
  const identifiers =
    kept.identifiers ??
    new IdentifierAllocator({ capacity, quarantineMs, k0, k1, columns: within('identifiers', columns) })
  const flows = new FlowTable(limits.flows, limits.embryonicFlows, k0, k1, within('flows', columns))
  // Epoch, and last sequence.
  const cell = columns.u32('forwarder', 2)
  const goesOn = continued && cell[0] !== 0
  const sequence = kernel?.sequence ?? ownSequence()
  if (goesOn) sequence.goOn((cell[1] + UNSEEN_SEQUENCES) >>> 0)
  const { keys } = flows.table
  const settings: Mutable<ForwarderSettings> = {
    tunnelWords: own.tunnelWords,
    // Hosts keep the mappings of an epoch that goes on.
    epoch: goesOn ? cell[0] : kept.epoch,
    mtuBytes,
    timeouts,
    plumbAfterPackets: PLUMB_AFTER_PACKETS,
    hasClassifier: own.hasClassifier,
    resolves: own.resolves ?? false,
    lasting: plumber.lasting,
    encapsulates: plumber.encapsulates,
  }
  const routerWords = Uint32Array.of(0, 0, 0xffff, plan.clusterIpv4)
  const tunnelOf = (family: 4 | 6): Uint32Array | undefined =>
    family === 4 ? own.tunnelWords : own.tunnelWords6
  const hostOf = (index: number, family: 4 | 6): Uint32Array | undefined =>
    family === 4 ? directory.host(index)?.words : directory.host(index)?.words6
  /** Larger than the way to the host takes, with so many bytes around it: dropped, and its sender told. */
  const isTooBig = (packet: PacketRef, host: Uint32Array, aroundBytes: number): boolean => {
    const mtuBytes = tooLargeFor(packet, aroundBytes, () => mtuTo(host) - aroundBytes)
    if (mtuBytes === 0) return false
    drops.add(DROP.TOO_BIG)
    icmp.tooBig(packet, mtuBytes, kept.now())
    return true
  }
  const mtuTo = (host: Uint32Array): number => parts.mtuTo?.(host, kept.now()) ?? settings.mtuBytes
  const kindOf = (slot: number): RouteKind => {
    const identifier = flows.identifier[slot]
    if (identifier === 0) return 'local'
    return identifiers.isNeutral(identifier, keys[slot * 10 + 8]) ? 'route' : 'fixed'
  }
  /** Where a packet goes from and to, in its family; null: one of them has no address of that. */
  const endsOf = ({ view }: PacketRef, index: number): { from: Uint32Array; to: Uint32Array } | null => {
    const six = view.family === 6
    const from = six ? own.tunnelWords6 : own.tunnelWords
    const host = directory.host(index)!
    const to = six ? host.words6 : host.words
    return from === undefined || to === undefined ? null : { from, to }
  }
  const questions = new RecordQueue(RESOLVE_WORDS, limits.heldPackets)
  const resolution = new Resolution(limits.heldPackets, k0, k1, {
    // One that finds no room is asked again.
    ask: (key, at, service, again) => questions.add(key, at, ATOM_KIND.flow, service, again ? 1 : 0),
    drop: reason => drops.add(reason),
  })
  const core = new ForwarderCore({
    flows,
    resolution,
    sequence,
    identifiers,
    held: kept.held,
    directory,
    ...{ allotment: kept.affinity, affinity: kept.affinity, clients: kept.clients },
    settings,
    ports: {
      tunnel: (packet, identifier, index) => {
        const ends = endsOf(packet, index)
        if (ends === null) return drops.add(DROP.NO_IPV6)
        if (isTooBig(packet, ends.to, 0)) return
        output.tunnel(packet, ends.from, ends.to, identifier)
        core.tally.sent(index, packet.length)
      },
      encapsulate: (packet, index) => {
        const ends = endsOf(packet, index)
        if (ends === null) return drops.add(DROP.NO_IPV6)
        if (isTooBig(packet, ends.to, outerBytes(packet.view.family))) return
        output.encapsulate(packet, ends.from, ends.to, settings.mtuBytes)
        core.tally.sent(index, packet.length)
      },
      deliverLocal: packet => {
        output.inject(packet)
        const self = directory.directory.hosts.find(host => host.self)
        if (self !== undefined) core.tally.sent(self.index, packet.length)
      },
      datagram: (header, to, packet) => {
        datagrams.send(header, own.tunnelIpv4, to, packet, nowS())
        // With its mapping a packet goes to its host as well; one that is only shown to a classifier does not.
        const host = header.kind === KIND.MAP && packet !== null ? directory.hostAt(to) : undefined
        if (host !== undefined) core.tally.sent(host.index, packet!.length)
      },
      plumb: slot => {
        const { routeLease } = settings.timeouts
        const kind = kindOf(slot)
        if (kind === 'local') return plumber.local(slot, keys, slot * 10, routeLease)
        plumber.route(slot, keys, slot * 10, flows.identifier[slot], kind === 'route', routeLease)
      },
      unplumb: slot => plumber.unroute(keys, slot * 10, kindOf(slot)),
      unplumbAll: slots =>
        plumber.unrouteAll(slots.map(slot => ({ key: keys, at: slot * 10, kind: kindOf(slot) }))),
      ended: slot => {
        if (!settings.hasClassifier) kept.ended.add(keys, slot * 10, null)
      },
      drop: (reason, packet) => {
        drops.add(reason)
        if (reason === DROP.TTL_EXPIRED && packet !== undefined) icmp.expired(packet, kept.now())
      },
      embryo: slot =>
        kernel?.put(keys, slot * 10, flows.service[slot], {
          host: flows.host[slot],
          identifier: flows.identifier[slot],
          mapped: flows.has(slot, FLOW_FLAG.MAPPED),
          held: kept.held.has(slot),
        }) ?? false,
      unembryo: slot => kernel?.take(keys, slot * 10, flows.identifier[slot]) ?? false,
      forget: (key, identifier) => kernel?.take(key, 0, identifier),
      search: key => kernel?.search(key) ?? null,
    },
  })
  const icmp = new IcmpForwarder({
    ...{ flows, identifiers, directory, k0, k1 },
    route: (key, mayOpen, nowMs) => core.errors.find(key, mayOpen, nowMs),
    hear: () => kernel?.drain(),
    settings: {
      tunnel: tunnelOf,
      host: hostOf,
      router: family => (family === 4 ? routerWords : plan.clusterWords6),
    },
    ports: {
      send: (buf, offset, length, destination, at) => output.send(buf, offset, length, destination, at),
      deliverLocal: packet => output.inject(packet),
      drop: reason => drops.add(reason),
    },
  })
  const keep = (): void => {
    cell[0] = core.epoch
    cell[1] = sequence.last
  }
  keep()
  return { core, icmp, settings, identifiers, resolution, questions, keep }
}

type OwnForwarder = DataplanePlan['forwarder']

export const sameTunnels = (a: OwnForwarder, b: OwnForwarder): boolean =>
  a?.tunnelIpv4 === b?.tunnelIpv4 && String(a?.tunnelWords6) === String(b?.tunnelWords6)

/** The smallest MTU that a link of the Internet may have: what is no larger fits everywhere (RFC 791; RFC 8200, section 5). */
const FITS_BYTES = { 4: 576, 6: 1280 } as const

/** What the way takes, if that is less than the packet, or one of the segments that it is cut to; else 0. */
const tooLargeFor = (
  { view, offset, length, gsoSize }: PacketRef,
  aroundBytes: number,
  mtuBytes: () => number,
): number => {
  const bytes = gsoSize === 0 ? length : view.payload - offset + gsoSize
  if (bytes + aroundBytes <= FITS_BYTES[view.family]) return 0
  const mtu = mtuBytes()
  return bytes > mtu ? mtu : 0
}
