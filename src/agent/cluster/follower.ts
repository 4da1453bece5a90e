import type { Logger } from 'pino'
import type { Ledger } from '../../cluster/ledger.ts'
import { errorText } from '../../errors.ts'
import type { PeerLinks } from '../../gossip/links-api.ts'
import type { DamSide } from '../dam/dam-side.ts'
import type { EventLog } from '../events.ts'
import type { HealthSide } from '../health/health-side.ts'
import type { Machines } from '../machines.ts'
import type { OwnersSide } from '../owners/owners-side.ts'
import type { OwnershipSide } from '../ownership/ownership-side.ts'
import type { PacketSide } from '../packet-side.ts'
import { type Course, fingerprint } from './course.ts'

/** After a change that the kernel refused. */
const RETRY_MS = 2000

export interface FollowerParts {
  /** What the cluster asks of this node now. */
  course(): Course
  /** The one that the packet path was started with. */
  first: Course
  links: PeerLinks
  packets: PacketSide
  machines: Machines
  ledger: Ledger
  health: HealthSide
  vips: OwnershipSide
  owners: Pick<OwnersSide, 'follow'>
  dam: DamSide
  events: EventLog
  log: Logger
}

/** Takes this node along with the cluster: first who may speak, then the packets, then word of it to the others. */
export class Follower {
  readonly #parts: FollowerParts
  /** Fingerprints of the course that was gone over to last, of the one in force, and of the last one that could not be. */
  #followed: string
  #inForce: string
  #failed = ''
  #stopped = false

  constructor(parts: FollowerParts) {
    this.#parts = parts
    this.#followed = this.#inForce = fingerprint(parts.first)
    this.#tellDigest()
  }

  async follow(): Promise<void> {
    if (this.#stopped) return
    const { links, packets, machines } = this.#parts
    const course = this.#parts.course()
    const now = fingerprint(course)
    if (now === this.#followed) {
      // Statements that change nothing here are in force at once, unless an earlier change still is on its way.
      if (now === this.#inForce) this.#tellDigest()
      return
    }
    this.#followed = now
    links.setNetworkKeys(course.networkKeys)
    links.setPeers(course.config.peers)
    try {
      const before = packets.config
      await packets.follow(course)
      this.#parts.vips.follow(course.config)
      this.#parts.health.follow(course)
      this.#parts.owners.follow()
      this.#parts.dam.follow(course)
      await this.#parts.health.ready(before)
      links.setSelf({ roles: course.config.roles, epoch: packets.epoch })
      if (this.#followed === now) {
        this.#inForce = now
        this.#tellDigest()
      }
      machines.keep(course.config.peers.map(({ name }) => name))
    } catch (error) {
      this.#refused(now, course.config.node.name, errorText(error))
    }
  }

  stop(): void {
    this.#stopped = true
  }

  #refused(course: string, node: string, reason: string): void {
    const { events, log } = this.#parts
    log.error({ error: reason }, 'a change of the cluster could not be put into force')
    if (this.#failed !== course)
      events.add(
        'config.failed',
        'error',
        node,
        `a change could not be put into force here: ${reason}; it is tried again, and shunt doctor may tell more`,
      )
    this.#failed = course
    if (this.#followed !== course) return
    this.#followed = ''
    setTimeout(() => void this.follow(), RETRY_MS).unref()
  }

  /** What this node has in force, for the others: after the packet path has it, not when the words came in. */
  #tellDigest(): void {
    const { links, ledger, packets } = this.#parts
    links.setDigest(ledger.digest(), packets.revision)
  }
}
