import type { Columns } from './columns.ts'
import type { Datagrams } from './datagrams.ts'
import type { DropCounters } from './drops.ts'
import type { KernelTable } from './kernel-table.ts'
import type { DataplanePlan } from './messages.ts'
import type { Plumber } from './plumber.ts'
import type { PacketOutput } from './slow-path.ts'

/** Slow-path packets after which a flow is worth a kernel route: a small request and its answer need fewer. */
export const PLUMB_AFTER_PACKETS = 8

/** The world as the engine needs it; the worker makes it, a test gives its own. */
export interface EngineParts {
  readonly plan: DataplanePlan
  readonly output: PacketOutput
  readonly datagrams: Datagrams
  readonly plumber: Plumber
  /** The kernel's tables of flows, if it opens some by itself. */
  readonly kernel?: KernelTable
  readonly drops: DropCounters
  /** Unix time in whole seconds, as of the current turn. */
  readonly nowS: () => number
  /** Bytes of the largest packet that the way to a host's address (four words) takes; left out: as the plan says. */
  readonly mtuTo?: (host: Uint32Array, nowMs: number) => number
  readonly epochChanged: (epoch: number) => void
  /** Where tables keep what outlives the agent; left out: nothing does. */
  readonly columns?: Columns
  /** The columns are an earlier agent's, whose tables this one goes on with (adopt.ts). */
  readonly continued?: boolean
}

export type Mutable<T> = { -readonly [K in keyof T]: T[K] }
