/** What a cluster document says of overload, groups and heartbeats, in a simulated cluster; nodes learn of a change one after another. */
import type { HealthNodePolicy } from '../../../src/health/node.ts'
import { MARGIN_MS } from '../../../src/health/types.ts'
import type { World } from './world.ts'

export interface HealthPolicy {
  leaseBeats: number
  mode: 'full' | 'changes'
  forwardEvery: number
  directHosts: number
  groupSize: number
  overload: { drain: number; resume: number; forMs: number }
}

export const anyPolicy = (world: World): HealthPolicy => {
  const isChanges = world.chance(0.3)
  return {
    leaseBeats: isChanges ? 6 : 3,
    mode: isChanges ? 'changes' : 'full',
    forwardEvery: isChanges ? 3 : 1,
    directHosts: world.pick([0, 1, 3]),
    groupSize: world.pick([3, 4, 32]),
    overload: { drain: world.pick([60, 95]), resume: 50, forMs: world.pick([0, 3000]) },
  }
}

export const toldAs = (policy: HealthPolicy, leaseBeats = policy.leaseBeats): HealthNodePolicy => {
  const { forwardEvery, overload, mode, directHosts, groupSize } = policy
  return { host: { leaseBeats, forwardEvery, overload }, group: { mode, directHosts, size: groupSize } }
}

/** Lengths of the leases that one host told units of, over all its lives. */
export class LeaseLog {
  readonly #beatMs: number
  readonly #past: { beats: number; untilMs: number }[] = []
  #beats: number

  constructor(beatMs: number, beats: number) {
    this.#beatMs = beatMs
    this.#beats = beats
  }

  change(beats: number, nowMs: number): void {
    this.#past.push({ beats: this.#beats, untilMs: nowMs })
    this.#beats = beats
  }

  /** When all leases are over that rest on what was so at `atMs`. */
  endMs(atMs: number): number {
    const now = { beats: this.#beats, untilMs: Number.POSITIVE_INFINITY }
    return Math.max(
      ...[...this.#past, now].map(
        ({ beats, untilMs }) => Math.min(atMs, untilMs) + this.#beatMs * beats + MARGIN_MS,
      ),
    )
  }

  /** The longest that a unit may still have. */
  longest(nowMs: number): number {
    return Math.max(
      this.#beats,
      ...this.#past
        .filter(({ beats, untilMs }) => untilMs + this.#beatMs * beats + MARGIN_MS > nowMs)
        .map(({ beats }) => beats),
    )
  }

  /** The longest ever told. */
  get most(): number {
    return Math.max(this.#beats, ...this.#past.map(({ beats }) => beats))
  }
}
