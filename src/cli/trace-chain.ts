/** Follows a flow from the node that was asked over the classifier to its host: who says what, in that order. */
import type { FlowOrigin, NodesData, TraceData } from '../control/types.ts'
import { errorText } from '../errors.ts'
import { duration } from './format.ts'

export interface TraceLink {
  node: string
  /** `null`: the node did not answer. */
  trace: TraceData | null
  /** Why not. */
  error: string | null
}

/** Asks one node; throws what the control API's client throws. */
export type AskTrace = (node: string) => Promise<TraceData>

/** Bounded by the nodes of the cluster; each is asked once. The first must answer; of the others it is told when they do not. */
export const followTrace = async (first: readonly string[], ask: AskTrace): Promise<TraceLink[]> => {
  const links: TraceLink[] = []
  const asked = new Set<string>()
  const visit = async (node: string, isFirst: boolean): Promise<TraceData | null> => {
    if (asked.has(node)) return links.find(link => link.node === node)?.trace ?? null
    asked.add(node)
    try {
      const trace = await ask(node)
      links.push({ node, trace, error: null })
      return trace
    } catch (error) {
      if (isFirst && first.length === 1) throw error
      links.push({ node, trace: null, error: errorText(error) })
      return null
    }
  }
  for (const node of first) {
    const trace = await visit(node, true)
    const isAsking = trace?.verdict === 'classifier' && trace.classifier !== null
    const classified = isAsking ? await visit(trace.classifier!, false) : null
    const host = trace?.host ?? classified?.choice?.host ?? null
    if (host !== null) await visit(host, false)
  }
  return links
}

/** The forwarders, the node that is asked first. */
export const forwardersOf = ({ nodes }: NodesData): string[] =>
  nodes
    .filter(({ roles, retiring }) => roles.includes('forwarder') || retiring.includes('forwarder'))
    .sort((a, b) => Number(b.self) - Number(a.self))
    .map(({ name }) => name)

export interface TraceLine {
  node: string
  what: string
  says: string
}

const ORIGIN: Readonly<Record<FlowOrigin, string | null>> = {
  chosen: null,
  kept: 'kept from the agent before',
  'own-atom': "by this node's atom",
  'member-atom': "by another unit's atom",
  host: 'its host was asked for, and said so',
  nobody: 'nobody has it',
  guess: 'guessed for an ICMP error',
}

const list = (...parts: (string | false | null)[]): string => parts.filter(Boolean).join(', ')

const choiceText = ({ by, host, candidates }: NonNullable<TraceData['choice']>): string => {
  const able = candidates.filter(({ leftOut }) => leftOut.length === 0)
  const shares = able.map(
    ({ host: name, percent, tokens }) =>
      `${name} ${percent}%${tokens === null ? '' : ` (${tokens} tokens left)`}`,
  )
  const not = candidates
    .filter(({ leftOut }) => leftOut.length > 0)
    .map(({ host: name, leftOut }) => `${name} (${leftOut.join(', ')})`)
  return [
    `${host ?? 'no host'}, by ${by === 'stale' ? 'the last shares' : by}`,
    ...(shares.length > 0 ? [`among ${shares.join(', ')}`] : []),
    ...(not.length > 0 ? [`not ${not.join(', ')}`] : []),
  ].join('; ')
}

const VERDICTS: Record<TraceData['verdict'], (host: string | null) => string> = {
  forwarded: host => `forwarded to ${host}`,
  'own stack': () => 'into the own stack',
  classifier: host => (host === null ? 'sent to the classifier' : 'chosen as a classifier'),
  dropped: () => 'dropped',
  'not ours': () => 'not looked at',
}

const known = (trace: TraceData): TraceLine['says'][][] => {
  const { kernel, flow, hostSide } = trace
  const idle = (ms: number | null): string | false => ms !== null && `last used ${duration(ms)} ago`
  return [
    ...(kernel === null
      ? []
      : [
          [
            'kernel',
            list(
              `route to ${kernel.host} (${kernel.by})`,
              kernel.identifier !== '-' && `identifier ${kernel.identifier}`,
              kernel.state,
              !kernel.mapped && 'not acknowledged by the host',
              idle(kernel.idleMs),
            ),
          ],
        ]),
    ...(flow === null
      ? []
      : [
          [
            'agent',
            list(
              flow.host === null ? 'flow without a host yet' : `flow to ${flow.host}`,
              flow.identifier !== '-' && `identifier ${flow.identifier}`,
              flow.state,
              ORIGIN[flow.origin],
              !flow.mapped && 'not acknowledged by the host',
              flow.inactive && 'inactive',
              `${flow.slowPackets} packets through the agent`,
              idle(flow.idleMs),
            ),
          ],
        ]),
    ...(hostSide?.mappings ?? []).map(mapping => [
      'mapping',
      list(
        `identifier ${mapping.identifier} of ${mapping.tunnel}`,
        mapping.state,
        mapping.kernel !== null && `restored by ${mapping.kernel}`,
        idle(mapping.idleMs),
      ),
    ]),
    ...(hostSide === null
      ? []
      : [['socket', hostSide.socket ?? 'none: its stack would answer with a reset']]),
  ]
}

/** What a node says, a line each. */
export const traceLines = ({ node, trace, error }: TraceLink): TraceLine[] => {
  if (trace === null) return [{ node, what: 'no answer', says: error ?? '-' }]
  const lines: string[][] = []
  if (trace.inForce)
    lines.push(['service', trace.service ?? `none on this port; the VIP is in force (${trace.dataplane})`])
  lines.push(...known(trace))
  const isKnown = trace.kernel !== null || (trace.flow !== null && trace.flow.host !== null)
  if (trace.choice !== null && !isKnown) lines.push(['new flow', choiceText(trace.choice)])
  if (trace.nextHop !== null)
    lines.push(['next hop', `${trace.nextHop.address} on ${trace.nextHop.interface}`])
  lines.push(['packet', `${VERDICTS[trace.verdict](trace.host)}: ${trace.why}`])
  return lines.map(([what, says]) => ({ node, what: what!, says: says! }))
}

/** Where the packets of the flow end up, and what is not well with that: '' if nothing. */
export const traceTrouble = (links: readonly TraceLink[]): string => {
  const traces = links.flatMap(({ node, trace }) => (trace === null ? [] : [{ node, ...trace }]))
  const dropped = traces.find(({ verdict }) => verdict === 'dropped')
  if (dropped !== undefined) return `${dropped.node} would drop the packet: ${dropped.why}`
  if (traces.every(({ verdict }) => verdict === 'not ours'))
    return 'no node that was asked would take the packet'
  const last = traces.at(-1)
  if (last?.hostSide && last.verdict === 'own stack' && last.hostSide.socket === null)
    return `nothing listens at ${last.vip} on ${last.node}`
  return ''
}
