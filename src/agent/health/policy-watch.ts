/** What the document in force says of overload, groups and leases: whether it is news, and how long leases of before may last. */
import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import type { NodeConfig } from '../../config/schema.ts'
import { errorText } from '../../errors.ts'
import type { HealthNodePolicy } from '../../health/node.ts'
import { LeaseRecord } from './lease-record.ts'
import { nodePolicy } from './node-settings.ts'

export class PolicyWatch {
  readonly #log: Logger
  readonly #record: LeaseRecord
  #policy: HealthNodePolicy

  constructor(config: NodeConfig, log: Logger) {
    this.#log = log
    this.#record = new LeaseRecord(config.node.stateDir)
    this.#policy = nodePolicy(config)
  }

  /** Of the agent's last run; 0: not known. */
  get formerLeaseBeats(): number {
    return this.#record.beats
  }

  /** What the node is to be told; null: nothing new. */
  follow(config: NodeConfig): HealthNodePolicy | null {
    const policy = nodePolicy(config)
    try {
      if (config.roles.includes('host')) this.#record.follow(policy.host.leaseBeats)
    } catch (error) {
      this.#log.warn({ error: errorText(error) }, 'the length of leases could not be written down')
    }
    if (isDeepStrictEqual(policy, this.#policy)) return null
    this.#policy = policy
    return policy
  }

  stop(): void {
    this.#record.stop()
  }
}
