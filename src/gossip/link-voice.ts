/** What this node says on its links: its HELLO, its heartbeats with what it knows, and the answers to those of others. */
import type { Role } from '../config/schema.ts'
import { encodeGoodbye, encodeHeartbeat, encodeHeartbeatEcho, encodeHello } from './frame-encode.ts'
import { DIGEST_VERSION, type HeartbeatEcho, type Knowledge, PACE_VERSION } from './frame-format.ts'
import type { Versions } from './greeting.ts'
import type { Link } from './link.ts'
import type { LinkCounter } from './link-counters.ts'
import type { Peer } from './peer.ts'
import { roleMask } from './roles.ts'

export interface Self {
  roles: Role[]
  epoch: number
}

export class Voice {
  readonly #name: string
  readonly #versions: Versions
  readonly #count: (what: LinkCounter, amount?: number) => void
  #self: Self
  #draining = false
  #knowledge: Knowledge | undefined

  constructor(
    { name, versions, self }: { name: string; versions: Versions; self: Self },
    count: (what: LinkCounter, amount?: number) => void,
  ) {
    this.#name = name
    this.#versions = versions
    this.#count = count
    this.#self = { roles: [...self.roles], epoch: self.epoch }
  }

  setSelf({ roles, epoch }: Self): void {
    this.#self = { roles: [...roles], epoch }
  }

  /** Whether that is news to the peers. */
  setDraining(draining: boolean): boolean {
    const isNews = this.#draining !== draining
    this.#draining = draining
    return isNews
  }

  /** Whether that is news to the peers. */
  setKnowledge(knowledge: Knowledge): boolean {
    const { digest, revision } = this.#knowledge ?? {}
    this.#knowledge = knowledge
    return knowledge.digest !== digest || knowledge.revision !== revision
  }

  /** False if the link takes no more. */
  write(link: Link, frame: Uint8Array): boolean {
    if (!link.send(frame)) return false
    this.#count('frames_out')
    this.#count('bytes_out', frame.length)
    return true
  }

  hello(link: Link): void {
    const { min: minVersion, max: maxVersion } = this.#versions
    const { roles, epoch } = this.#self
    this.write(link, encodeHello({ minVersion, maxVersion, name: this.#name, roles: roleMask(roles), epoch }))
  }

  heartbeat(peer: Peer, sequence: number, wantsEcho: boolean): void {
    const sentMs = performance.now()
    if (wantsEcho) peer.probe = { sequence, atMs: sentMs }
    if (peer.link === undefined) return
    const version = peer.version ?? 0
    const frame = encodeHeartbeat({
      sequence,
      sentMs,
      draining: this.#draining,
      wantsEcho,
      ...(this.#knowledge !== undefined && version >= DIGEST_VERSION && { knowledge: this.#knowledge }),
      ...(version >= PACE_VERSION && { nextMs: peer.live.intervalMs }),
    })
    this.write(peer.link, frame)
  }

  echo(link: Link, heartbeat: HeartbeatEcho): void {
    this.write(link, encodeHeartbeatEcho(heartbeat))
  }

  goodbye(link: Link, reason: string): void {
    this.write(link, encodeGoodbye(reason))
  }
}
