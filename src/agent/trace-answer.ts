/** What the packet path knows of a flow, with names, and what follows for its next packet (`shunt trace`). Pure. */
import type { TraceData, TraceQuery, TraceVerdict } from '../control/types.ts'
import type { Directory } from './dataplane/directory.ts'
import type { TraceLook } from './dataplane/trace.ts'
import { ROUTE_STATE } from './dataplane/xdp/route-layout.ts'

const STATES: readonly NonNullable<TraceData['kernel']>['state'][] = [
  'embryonic',
  'young',
  'established',
  'fin',
  'reset',
  'reopened',
  'held',
]

const hex = (identifier: number): string =>
  identifier === 0 ? '-' : identifier.toString(16).padStart(8, '0')

type Named = Omit<TraceData, 'verdict' | 'host' | 'why' | 'nextHop'>

/** @param socket state of the socket that a packet would meet on this node, null: none; undefined where nobody looked */
export const nameTrace = (
  query: TraceQuery,
  look: TraceLook,
  directory: Directory,
  dataplane: string,
  socket: string | null,
): Named => {
  const hosts = new Map(directory.hosts.map(({ index, name }) => [index, name]))
  const nameOf = (index: number): string => hosts.get(index) ?? `host ${index}, which is not known any more`
  const { kernel, flow, choice, mappings } = look
  return {
    ...query,
    dataplane,
    inForce: look.inForce,
    service: directory.services.find(({ index }) => index === look.service)?.name ?? null,
    forwarder: look.forwarder,
    classifier: look.classifier,
    kernel:
      kernel === null
        ? null
        : {
            ...{ by: kernel.by, host: nameOf(kernel.host), identifier: hex(kernel.identifier) },
            ...{ state: STATES[kernel.state] ?? 'held', mapped: kernel.mapped, idleMs: kernel.idleMs },
          },
    flow:
      flow === null
        ? null
        : { ...flow, host: flow.host === 0 ? null : nameOf(flow.host), identifier: hex(flow.identifier) },
    choice:
      choice === null
        ? null
        : {
            by: choice.by,
            host: choice.chosen === 0 ? null : nameOf(choice.chosen),
            candidates: choice.candidates.map(({ host, percent, tokens, leaseMs, leftOut }) => ({
              host: nameOf(host),
              percent: Math.round(percent * 10) / 10,
              tokens,
              // JSON has no infinity.
              leaseMs:
                leaseMs === null || !Number.isFinite(leaseMs) ? null : Math.max(0, Math.round(leaseMs)),
              leftOut: [...leftOut],
            })),
          },
    hostSide:
      mappings === null
        ? null
        : {
            mappings: mappings.map(mapping => ({ ...mapping, identifier: hex(mapping.identifier) })),
            socket,
          },
  }
}

export interface TraceOutcome {
  verdict: TraceVerdict
  host: string | null
  why: string
}

const BY: Record<NonNullable<TraceData['choice']>['by'], string> = {
  affinity: 'its client has a session with it (affinity)',
  capacity: 'by configured capacity, since nothing is known of health and load yet',
  nothing: 'nothing was allotted for the service',
  stale: 'by the last shares, since no newer allotment came',
  hash: 'by the deterministic hash over the shares',
  percentages: 'it is furthest behind its share',
  tokens: 'it has the next token',
}

/** What becomes of the flow's next packet, or of its first. `self`: the name of this node. */
export const traceOutcome = (named: Named, self: string): TraceOutcome => {
  const { kernel, flow, choice, service, classifier, hostSide } = named
  const dropped = (why: string): TraceOutcome => ({ verdict: 'dropped', host: null, why })
  const to = (host: string, why: string): TraceOutcome => ({
    ...{ verdict: host === self ? 'own stack' : 'forwarded', host },
    why,
  })
  if (!named.inForce)
    return { verdict: 'not ours', host: null, why: 'no service of this node has that address' }
  if (!named.forwarder) return hostOutcome(hostSide, choice, service, self)
  if (service === null) return dropped('the VIP has no service on this port and protocol')
  if (flow?.inactive) return dropped(`${flow.host} is inactive for ${service}: not one packet may go there`)
  if (kernel?.mapped && STATES.indexOf(kernel.state) !== ROUTE_STATE.HELD)
    return to(kernel.host, `the kernel has the route (${kernel.by})`)
  if (flow !== null && flow.host !== null)
    return to(
      flow.host,
      flow.mapped
        ? 'the agent has the flow'
        : 'the agent has the flow; its packets take the mapping along until the host has acknowledged it',
    )
  if (choice !== null)
    return choice.host === null
      ? dropped(`no host of ${service} may take a new connection`)
      : to(choice.host, `new: ${BY[choice.by]}`)
  if (classifier === null) return dropped('new, and no classifier is alive')
  return { verdict: 'classifier', host: null, why: `new: the classifier ${classifier} chooses` }
}

const hostOutcome = (
  hostSide: TraceData['hostSide'],
  choice: TraceData['choice'],
  service: string | null,
  self: string,
): TraceOutcome => {
  const none = (why: string): TraceOutcome => ({ verdict: 'not ours', host: null, why })
  if (hostSide !== null && hostSide.mappings.length > 0)
    return {
      ...{ verdict: 'own stack', host: self },
      why: hostSide.mappings.some(({ kernel }) => kernel !== null)
        ? 'a forwarder sent its mapping, and the kernel restores its packets'
        : 'a forwarder sent its mapping',
    }
  if (choice !== null)
    return choice.host === null
      ? none(`no host of ${service} may take a new connection`)
      : {
          ...{ verdict: 'classifier', host: choice.host },
          why: `a forwarder that asks about it as new is told ${choice.host}: ${BY[choice.by]}`,
        }
  return none(
    hostSide === null
      ? 'this node is no forwarder'
      : 'this host has no mapping of the connection yet; its first packet brings one (pools that are encapsulated need none)',
  )
}
