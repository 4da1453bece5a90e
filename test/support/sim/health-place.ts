/** What the nodes of one simulated cluster have in common. */
import type { NodeMember } from '../../../src/health/node.ts'
import type { HealthMessage } from '../../../src/health/types.ts'
import type { Bug } from './health-bugs.ts'
import type { HealthPolicy } from './health-policy.ts'
import type { Links } from './links.ts'
import type { Network } from './network.ts'
import type { World } from './world.ts'

export type HealthMember = NodeMember

/** Those of the policy are what the newest document says. */
export interface HealthOptions extends HealthPolicy {
  bug: Bug | null
  beatMs: number
  ageMs: number
  retieMs: number
  maxDelayMs: number
  /** A data plane is behind its core by at most so much, mostly. */
  applyMs: number
  /** How likely it is behind by seconds. */
  slowApplies: number
  /** Of any clock. */
  drift: number
  /** Units take a host for dead while their link to its agent is down. */
  trustsLinks: boolean
  /** All messages go through the codec. */
  encodes: boolean
  /** Nodes may be hosts and units at once, and change what they are. */
  isMixed: boolean
}

export interface Place {
  readonly world: World
  readonly network: Network<unknown>
  readonly links: Links<HealthMessage>
  readonly options: HealthOptions
  /** How long the next change takes in a data plane. */
  applyMs(): number
  /** A host made a directive current. */
  settled(): void
}
