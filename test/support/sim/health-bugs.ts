/** Bugs that can be put into a simulated node's wiring, to show that the invariants can fail. */
import type { HealthMessage } from '../../../src/health/types.ts'

export const BUGS = [
  /** A host takes "postulate wrong" for "right". */
  'wrong-is-right',
  /** The data plane goes on after the end of a lease. */
  'lease-not-checked',
  /** No goodbye arrives, and units never forget a host. */
  'never-forgets',
  /** Hosts do not wait for the leases of units that say nothing. */
  'settles-at-once',
  /** Units answer for rows that are not in force yet. */
  'right-before-applied',
  /** A heartbeat renews a lease from when it came, however old it is. */
  'old-beats-renew',
  /** Units miss row changes, and what they ask for is not sent. */
  'repairs-nothing',
  /** Who leads hears no claim of another. */
  'deaf-leader',
  /** A leader passes on nothing of one host. */
  /** A host that starts again does not know that it ran a moment ago. */
  'restart-not-told',
  /** Whatever services say, the application that fails gets no packet. */
  'freezes-failing',
  /** No goodbye arrives. */
  'deaf-to-goodbye',
  /** Units go on with longer leases than the host, which was told of shorter ones, knows of. */
  'keeps-long-leases',
] as const
export type Bug = (typeof BUGS)[number]

/** What a message that arrives becomes; null: it is lost. */
export const bugged = (bug: Bug | null, message: HealthMessage, isLeader: boolean): HealthMessage | null => {
  if (bug === 'wrong-is-right' && message.type === 'postulate-wrong')
    return { type: 'postulate-right', host: message.host, postulate: message.postulate }
  const isDeaf = bug === 'never-forgets' || bug === 'deaf-to-goodbye'
  if (isDeaf && message.type === 'goodbye') return null
  if (bug === 'repairs-nothing') {
    if (message.type === 'row-change' && message.version.generation % 5 === 0) return null
    if (message.type === 'send-snapshot' && message.version.generation > 5) return { ...message, chunks: [] }
  }
  if (bug === 'deaf-leader' && message.type === 'claim' && isLeader) return null
  return message
}

/** What a node sends. A host that has been told that leases last no time tells the units of true ones, of `leaseBeats`. */
export const sent = (bug: Bug | null, message: HealthMessage, leaseBeats: number): HealthMessage =>
  (bug === 'settles-at-once' || bug === 'keeps-long-leases') && message.type === 'send-snapshot'
    ? { ...message, leaseBeats }
    : message
