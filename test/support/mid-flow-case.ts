/** A forwarder core whose questions and atoms a test answers and reads. */
import { FlowTable } from '../../src/agent/dataplane/flows.ts'
import { ForwarderCore } from '../../src/agent/dataplane/forwarder-core.ts'
import { HeldPackets } from '../../src/agent/dataplane/held.ts'
import { IdentifierAllocator } from '../../src/agent/dataplane/identifiers.ts'
import { createMappingHeader, KIND, type MappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import { ATOM_WORDS, RESOLVED } from '../../src/agent/dataplane/messages.ts'
import { Resolution } from '../../src/agent/dataplane/resolution.ts'
import { directory, FORWARDER, HOSTS, ip, TUNNEL, VIP, words } from './cores.ts'

export interface MidFlowOptions {
  readonly places?: number
  readonly copies?: number | null
  readonly classifier?: boolean
  readonly resolves?: boolean
  readonly udp?: boolean
  /** Flows that the forwarder has room for, and as many half-open ones. */
  readonly room?: number
  readonly onAsk?: (key: Uint32Array, service: number, again: boolean) => void
}

/** The flow of `tcp()` of cores.ts. */
export const keyOf = (port = 40_000, protocol = 6): Uint32Array =>
  Uint32Array.of(...words('10.20.0.5'), ...words(VIP), ((port << 16) | 80) >>> 0, protocol)

export const setUp = ({
  places = 8,
  copies = 1,
  classifier = true,
  resolves = true,
  udp = false,
  room = 16,
  onAsk,
}: MidFlowOptions = {}) => {
  const log: string[] = []
  const drops: number[] = []
  const asked: { port: number; service: number }[] = []
  const again: boolean[] = []
  const headers: MappingHeader[] = []
  const index = directory()
  const services = index.directory.services.map(service => ({ ...service, copies, protocol: udp ? 17 : 6 }))
  index.replace({ ...index.directory, services })
  const drop = (reason: number): number => drops.push(reason)
  const chosen = { host: 1, opens: [] as boolean[] }
  const resolution = new Resolution(places, 5, 6, {
    ask: (keys, at, service, isAgain) => {
      if (onAsk !== undefined) return onAsk(keys.slice(at, at + 10), service, isAgain)
      asked.push({ port: keys[at + 8]! >>> 16, service })
      again.push(isAgain)
    },
    drop,
  })
  const flows = new FlowTable(room, room, 1, 2)
  const settings = {
    tunnelWords: words(TUNNEL),
    epoch: 7,
    mtuBytes: 1500,
    timeouts: { embryonic: 1000, tcpIdle: 600_000, udpIdle: 5000, linger: 2000, routeLease: 10_000 },
    plumbAfterPackets: 4,
    hasClassifier: classifier,
    resolves,
  }
  const nameOf = (ipv4: number): string => {
    const host = HOSTS.findIndex(address => ip(address) === ipv4)
    return host < 0 ? (ipv4 === ip(FORWARDER) ? 'f1' : 'c1') : `h${host + 1}`
  }
  const core = new ForwarderCore({
    flows,
    identifiers: new IdentifierAllocator({ capacity: 4 * room, quarantineMs: 30_000, k0: 1, k1: 2 }),
    held: new HeldPackets(8),
    resolution,
    directory: index,
    allotment: {
      choose: (_service, _key, _at, opens) => {
        chosen.opens.push(opens)
        return chosen.host
      },
    },
    settings,
    ports: {
      tunnel: (packet, _identifier, host) => log.push(`tunnel ${packet.view.payloadLength} to h${host}`),
      encapsulate: () => log.push('encapsulate'),
      deliverLocal: () => log.push('local'),
      datagram: (header, to, packet) => {
        headers.push({ ...createMappingHeader(), identifier: header.identifier, sequence: header.sequence })
        const kind = Object.entries(KIND).find(([, number]) => number === header.kind)?.[0]
        log.push(`${kind} ${packet === null ? '-' : packet.view.payloadLength} to ${nameOf(to)}`)
      },
      plumb: () => log.push('plumb'),
      unplumb: () => log.push('unplumb'),
      unplumbAll: slots => log.push(...slots.map(() => 'unplumb')),
      ended: () => log.push('ended'),
      drop,
    },
  })
  return {
    ...{ core, flows, index, drops, asked, again, resolution, settings, chosen, headers },
    take: (): string[] => log.splice(0),
    answer: (nowMs: number, how: keyof typeof RESOLVED, host = 0, key = keyOf(40_000, udp ? 17 : 6)): void =>
      core.midFlow.resolved(key, host === 0 ? 0 : ip(HOSTS[host - 1]!), RESOLVED[how], nowMs),
    /** `put 40000 h2`, ... of what is in the queue now. */
    atoms: (): string[] => {
      const taken = core.atoms.queue.take()
      const rows: string[] = []
      for (let at = 0; at < taken.length; at += ATOM_WORDS)
        rows.push(
          `${['put', 'end', 'touch'][taken[at + 11]!]} ${taken[at + 8]! >>> 16} ${nameOf(taken[at + 10]!)}`,
        )
      return rows
    },
  }
}
