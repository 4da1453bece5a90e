/** Asks an agent for what the screens show. */
import {
  type EventsData,
  type FlowsData,
  type HostsData,
  MAX_EVENTS,
  type NodesData,
  type StatusData,
  type VipsData,
} from '../control/types.ts'
import type { Look } from './model.ts'

export interface Wants {
  /** Query of the flows, '' for none. */
  flows: string
  /** Newest event that is known already, and of which run of the agent. */
  events: { instance: string; after: number }
}

type Ask = (path: string) => Promise<{ time: string; data: unknown }>

/** @throws whatever `ask` throws */
export const look = async (ask: Ask, wants: Wants, clock: () => number): Promise<Look> => {
  const status = await ask('/v1/status')
  const atMs = clock()
  const { instance } = status.data as StatusData
  const after = instance === wants.events.instance ? wants.events.after : 0
  const [nodes, vips, hosts, events, flows] = await Promise.all([
    ask('/v1/nodes'),
    ask('/v1/vips'),
    ask('/v1/hosts'),
    ask(`/v1/events?after=${after}&limit=${MAX_EVENTS}`),
    wants.flows === '' ? null : ask(`/v1/flows?${wants.flows}`),
  ])
  return {
    atMs,
    time: status.time,
    status: status.data as StatusData,
    nodes: nodes.data as NodesData,
    vips: vips.data as VipsData,
    hosts: hosts.data as HostsData,
    events: events.data as EventsData,
    flowsFor: wants.flows,
    flows: flows === null ? null : (flows.data as FlowsData),
  }
}
