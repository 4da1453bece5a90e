/**
 * A host that is new to a service gets no connection before it has said that it is ready for it: its heartbeats carry the
 * digest of the statements that it has in force. A silent one is used after SETTLE_MS all the same. Pure.
 */
import type { ServiceConfig } from '../../config/schema.ts'

const SETTLE_MS = 3000

export interface Settling {
  /** Pairs `service/host` in use. */
  readonly used: ReadonlySet<string>
  /** Pairs that wait, with the time at which they wait no longer. */
  readonly waiting: ReadonlyMap<string, number>
}

const pairOf = (service: string, host: string): string => `${service}/${host}`

export interface SettlingStep {
  readonly state: Settling
  /** The services without the pairs that wait. */
  readonly services: ServiceConfig[]
  readonly wakeAtMs: number
}

/** @param ready whether a host has the statements in force that this node has */
export const settle = (
  before: Settling | null,
  services: readonly ServiceConfig[],
  ready: (host: string) => boolean,
  nowMs: number,
): SettlingStep => {
  const used = new Set<string>()
  const waiting = new Map<string, number>()
  const chosen = services.map(service => {
    const hosts = service.hosts.filter(({ name }) => {
      const pair = pairOf(service.name, name)
      const untilMs = before?.waiting.get(pair) ?? nowMs + SETTLE_MS
      const usable = before === null || before.used.has(pair) || ready(name) || nowMs >= untilMs
      if (usable) used.add(pair)
      else waiting.set(pair, untilMs)
      return usable
    })
    return { ...service, hosts }
  })
  return {
    state: { used, waiting },
    services: chosen,
    wakeAtMs: Math.min(Number.POSITIVE_INFINITY, ...waiting.values()),
  }
}
