/**
 * Which cluster secrets are in use at a moment (decision 9). A new secret is first only accepted, until every live member
 * holds it or half of its grace has passed (at most COMING_MS); then it signs; earlier ones end when its grace is over. So
 * no datagram is signed by what its receiver does not know yet, and an evicted node's knowledge ends within the grace. Pure.
 */
import type { ClusterSecret } from '../../cluster/types.ts'

/** Longest wait for members that do not answer. */
const COMING_MS = 2000

export interface Rotation {
  /** When each secret in the list was first seen, by number; -Infinity for what was there at the start. */
  readonly seenMs: ReadonlyMap<number, number>
  /** Number that signs. */
  readonly signing: number
}

export type SecretState = 'signing' | 'coming' | 'ending'

export interface RotationStep {
  readonly state: Rotation
  /** In use now, the one that signs first. */
  readonly usable: readonly { readonly secret: ClusterSecret; readonly state: SecretState }[]
  /** When to look again; Infinity: only when something changes. */
  readonly wakeAtMs: number
}

/**
 * @param secrets newest first, at least one
 * @param allSynced every live member holds the same statements as this node
 */
export const rotate = (
  before: Rotation | null,
  secrets: readonly ClusterSecret[],
  allSynced: boolean,
  nowMs: number,
): RotationStep => {
  const newest = secrets[0]
  const seenMs = new Map(
    secrets.map(({ number }) => [
      number,
      before === null ? Number.NEGATIVE_INFINITY : (before.seenMs.get(number) ?? nowMs),
    ]),
  )
  const since = seenMs.get(newest.number)!
  const signsAtMs = since + Math.min(COMING_MS, newest.graceMs / 2)
  const known = before !== null && secrets.some(({ number }) => number === before.signing)
  const switched = !known || before.signing === newest.number || allSynced || nowMs >= signsAtMs
  const signing = switched ? newest.number : before.signing
  // Before the first start there was nobody to be graceful to.
  const endMs = before === null ? nowMs : since + newest.graceMs
  const over = nowMs >= endMs && switched
  const usable = secrets
    .filter(({ number }) => number === signing || number === newest.number || !over)
    .map(secret => ({
      secret,
      state:
        secret.number === signing
          ? ('signing' as const)
          : secret.number === newest.number
            ? ('coming' as const)
            : ('ending' as const),
    }))
    .toSorted((a, b) => Number(b.state === 'signing') - Number(a.state === 'signing'))
  const wakeAtMs = !switched
    ? signsAtMs
    : !over && usable.length > 1
      ? Math.max(endMs, nowMs)
      : Number.POSITIVE_INFINITY
  return { state: { seenMs, signing }, usable, wakeAtMs }
}
