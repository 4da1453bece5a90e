/** Asks an agent for what the screens show. */
import {
  type AtomsData,
  type EventsData,
  type FlowsData,
  type HealthData,
  type HostsData,
  MAX_EVENTS,
  type NodesData,
  type StatusData,
  type VipsData,
} from '../control/types.ts'
import { ShuntError } from '../errors.ts'
import type { Look } from './model.ts'

export interface Wants {
  /** Query of the flows, '' for none. */
  flows: string
  /** Newest event that is known already, and of which run of the agent. */
  events: { instance: string; after: number }
}

type Ask = (path: string) => Promise<{ time: string; data: unknown }>

/** An agent of an earlier version, which is still running after an upgrade, knows no such path. */
const ifKnown = async <T>(answer: Promise<T>): Promise<T | null> => {
  try {
    return await answer
  } catch (error) {
    if (error instanceof ShuntError && error.code === 'SHUNT_ERR_CONTROL_PROTOCOL') return null
    throw error
  }
}

/** @throws whatever `ask` throws */
export const look = async (ask: Ask, wants: Wants, clock: () => number): Promise<Look> => {
  const status = await ask('/v1/status')
  const atMs = clock()
  const { instance } = status.data as StatusData
  const after = instance === wants.events.instance ? wants.events.after : 0
  const [nodes, vips, hosts, health, atoms, events, flows] = await Promise.all([
    ask('/v1/nodes'),
    ask('/v1/vips'),
    ask('/v1/hosts'),
    ifKnown(ask('/v1/health')),
    ifKnown(ask('/v1/atoms')),
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
    health: health === null ? null : (health.data as HealthData),
    atoms: atoms === null ? null : (atoms.data as AtomsData),
    events: events.data as EventsData,
    flowsFor: wants.flows,
    flows: flows === null ? null : (flows.data as FlowsData),
  }
}
