/** Waits until a host and all load balancing units follow an order, as that host's own agent says. */
import { setTimeout as delay } from 'node:timers/promises'
import type { DirectiveOrder } from '../../cluster/types.ts'
import { get } from '../../control/client.ts'
import type { HealthData, NodeRow, NodesData, OwnRow } from '../../control/types.ts'
import { errorText, ShuntError } from '../../errors.ts'
import { pathAt } from '../path-at.ts'
import { deadText } from './away.ts'
import { type Progress, progressOf } from './progress.ts'

const LOOK_MS = 200
/** A link that breaks comes back within this, or its node is away. */
const AWAY_MS = 3_000

export interface Look extends Progress {
  rows: OwnRow[]
}
export interface Waited extends Look {
  /** Why the host's agent cannot be asked, or `null`. */
  away: string | null
}
export const NOTHING_SEEN: Look = { settled: false, waiting: [], atMostMs: null, rows: [] }

/** Asks a node of itself: through the agent of the socket, or that agent. */
type AskNode = <T>(path: string, signal?: AbortSignal) => Promise<T>
const askerOf =
  (socket: string, node: NodeRow): AskNode =>
  async <T>(path: string, signal?: AbortSignal): Promise<T> =>
    (await get(socket, pathAt(path, node.self ? undefined : node.name), signal)).data as T

/** True once the node's own agent knows `order`, or a later one in its place. */
const isKnown = async (ask: AskNode, order: DirectiveOrder, signal?: AbortSignal): Promise<boolean> => {
  const { nodes } = await ask<NodesData>('/v1/nodes', signal)
  const known = nodes.find(row => row.self)?.directives?.find(({ app }) => app === order.app)
  return (known?.revision ?? 0) >= order.revision
}

/** @throws ShuntError SHUNT_ERR_PEER when the node cannot be asked */
export const lookOnce = async (
  socket: string,
  node: NodeRow,
  orders: readonly DirectiveOrder[],
  app: string,
  signal?: AbortSignal,
): Promise<Look> => {
  const { own } = await askerOf(socket, node)<HealthData>('/v1/health', signal)
  const rows = own?.rows ?? []
  return { ...progressOf(rows, orders, app), rows }
}

/** It may have died meanwhile: then there is no reason to be patient. */
const deadNow = async (socket: string, node: NodeRow, signal: AbortSignal): Promise<string | null> => {
  const { nodes } = (await get(socket, '/v1/nodes', signal)).data as NodesData
  const row = nodes.find(({ id }) => id === node.id)
  return row === undefined ? null : deadText(row)
}

/** Its agent does not answer, or is of an earlier version and knows nothing of health. */
const isAway = (error: unknown): error is ShuntError =>
  error instanceof ShuntError && ['SHUNT_ERR_PEER', 'SHUNT_ERR_CONTROL_PROTOCOL'].includes(error.code)

export interface Wanted {
  socket: string
  node: NodeRow
  order: DirectiveOrder
  /** All orders about the node, with `order`. */
  orders: readonly DirectiveOrder[]
  waitMs: number
  /** Gives up waiting early. */
  signal: AbortSignal
  /** After each look that was not the last. */
  onLook(look: Look): void
}

/** @throws ShuntError when the agent of the socket cannot be asked; AbortError */
export const awaitDirective = async (wanted: Wanted): Promise<Waited> => {
  const { socket, node, order, orders, waitMs, signal, onLook } = wanted
  const endMs = performance.now() + waitMs
  const patienceMs = node.agent === 'alive' ? AWAY_MS : 0
  let known = false
  let seen = NOTHING_SEEN
  let awaySinceMs: number | null = null
  const dead = deadText(node)
  if (dead !== null) return { ...seen, away: dead }
  for (;;) {
    const nowMs = performance.now()
    let away: string | null = null
    try {
      known ||= await isKnown(askerOf(socket, node), order, signal)
      seen = await lookOnce(socket, node, orders, order.app, signal)
      if (!known) seen = { ...seen, settled: false }
      awaySinceMs = null
    } catch (error) {
      if (!isAway(error)) throw error
      away = errorText(error)
      awaySinceMs ??= nowMs
      const died = await deadNow(socket, node, signal)
      if (died !== null) return { ...seen, settled: false, away: died }
      if (nowMs - awaySinceMs >= patienceMs) return { ...seen, settled: false, away }
    }
    if (away === null && seen.settled) return { ...seen, away }
    const leftMs = endMs - performance.now()
    if (leftMs <= 0) return { ...seen, settled: false, away }
    if (away === null) onLook(seen)
    await delay(Math.min(LOOK_MS, Math.max(1, leftMs)), undefined, { signal })
  }
}
