/** One repetition: connections, a fault in the middle of them, and what it did. */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { ShuntError } from '../../../src/errors.ts'
import type { Fault, Stage } from '../contract.ts'
import { clockMs } from './clock.ts'
import { Lines } from './lines.ts'
import { type Outcome, outcomeOf, type Times, type TrafficReport } from './measure.ts'
import { freshAddress } from './topology.ts'

export interface Load {
  /** The compiled traffic program. */
  readonly program: string
  readonly idle: number
  readonly active: number
  /** How long a fault stands. */
  readonly holdMs: number
  /** Is looked at for so long after it is over. */
  readonly aftermathMs: number
}

/** From one answer of an active connection to its next message. */
const PERIOD_MS = 50
const PROBE_MS = 20
/** A message must be answered within this time after all is well again; a client that repeats it has doubled its patience by then. */
const PATIENCE_MS = 30_000
/** A loss is noticed sooner. */
const NOTICED_MS = 3_000
const REDUNDANT_MS = 60_000

interface Checked {
  readonly good: number
  readonly silent: number
  readonly broken: number
}

class Traffic {
  readonly #lines: Lines
  readonly #idle: number

  private constructor(child: ChildProcess, idle: number) {
    this.#lines = new Lines(child)
    this.#idle = idle
  }

  /** All connections are there, each has carried a few messages, and none is broken. */
  static async open(stage: Stage, { program, idle, active }: Load): Promise<Traffic> {
    const { lab, vip, port } = stage
    const from = await freshAddress(lab)
    const argv = [program, 'client', vip, port, idle, active, from, PERIOD_MS].map(String)
    await stage.shift(true)
    const traffic = new Traffic(lab.spawn(lab.client(), argv), idle)
    try {
      traffic.#opened(await traffic.#lines.next())
      await stage.shift(false)
      await stage.settled()
      traffic.#opened(await traffic.#lines.ask('rest'))
      for (let round = 0; round < 3; round++) await traffic.#whole()
      return traffic
    } catch (error) {
      await traffic.end()
      throw error
    }
  }

  #opened({ failed }: { failed: number }): void {
    if (failed > 0)
      throw new ShuntError(
        'SHUNT_ERR_LAB',
        `${failed} connections could not be opened before anything was struck`,
      )
  }

  async #whole(): Promise<void> {
    const { good, silent, broken } = await this.check(PATIENCE_MS)
    if (good !== this.#idle)
      throw new ShuntError(
        'SHUNT_ERR_LAB',
        `before anything was struck ${broken} of ${this.#idle} connections were broken, and ${silent} silent`,
      )
  }

  check(patienceMs: number): Promise<Checked> {
    return this.#lines.ask(`check ${patienceMs}`)
  }
  async mark(): Promise<void> {
    this.#lines.tell(`probe ${PROBE_MS}`)
    await this.#lines.ask('mark')
  }
  report(): Promise<TrafficReport> {
    return this.#lines.ask('report')
  }
  async end(): Promise<void> {
    await this.#lines.end()
  }
}

/**
 * From the strike until the longest time in which not all was full was over; 0 if all was full all the time, null when that cannot be told or did not end.
 * New connections are always on their way, so it is never full for long, nor not full for long but by the fault.
 */
const redundant = async (stage: Stage, sinceMs: number): Promise<number | null> => {
  let longest = { ms: 0, endMs: 0 }
  let lackedMs: number | null = null
  for (let nowMs = sinceMs; nowMs - sinceMs < REDUNDANT_MS; nowMs = clockMs()) {
    const is = (await stage.redundant?.()) ?? null
    if (is === null) return null
    if (!is) lackedMs ??= nowMs
    else if (lackedMs !== null) {
      if (nowMs - lackedMs > longest.ms) longest = { ms: nowMs - lackedMs, endMs: nowMs - sinceMs }
      lackedMs = null
    }
    if (is && nowMs - sinceMs > NOTICED_MS) return longest.endMs
    await delay(50)
  }
  return null
}

const strike = async (
  stage: Stage,
  fault: Fault,
  traffic: Traffic,
  holdMs: number,
): Promise<Times & { redundantMs: number | null }> => {
  await traffic.mark()
  await delay(500)
  const struckMs = clockMs()
  await fault.strike()
  const isFull = redundant(stage, struckMs)
  let healMs: number | null = null
  let healedMs: number | null = null
  if (fault.atOnce !== true) {
    await delay(holdMs / 2)
    // While it stands: what is broken by it must be seen to break. What waits goes on waiting.
    await traffic.check(holdMs / 2)
    await delay(Math.max(0, struckMs + holdMs - clockMs()))
    healMs = clockMs()
    await fault.heal()
    healedMs = clockMs()
  }
  return { struckMs, healMs, healedMs, redundantMs: await isFull }
}

/**
 * @throws ShuntError SHUNT_ERR_LAB when connections were broken before the fault, or when all is not as before afterwards: that says something
 * about the balancer too, but there is nothing to count then
 */
export const runOne = async (stage: Stage, fault: Fault, load: Load): Promise<Outcome> => {
  await stage.settled()
  await fault.prepare?.()
  const traffic = await Traffic.open(stage, load)
  try {
    const { redundantMs, ...times } = await strike(stage, fault, traffic, load.holdMs)
    await traffic.check(PATIENCE_MS)
    await delay(load.aftermathMs)
    return outcomeOf(await traffic.report(), fault.loses ?? [], times, redundantMs)
  } finally {
    await traffic.end()
  }
}
