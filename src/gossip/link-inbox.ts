/** What peers say on their links, taken in its turn: greeting first, then heartbeats and what the rest of the agent hears. */
import type { Logger } from 'pino'
import {
  ATOM_ROLES,
  type DecodedFrame,
  DIGEST_VERSION,
  FRAME,
  type HeartbeatEcho,
  type HeartbeatFrame,
  type HelloFrame,
  PACE_VERSION,
  SENDER_ROLES,
  TYPE_VERSION,
} from './frame-format.ts'
import { type GreetingRules, negotiated, refusalOf } from './greeting.ts'
import type { Link } from './link.ts'
import type { LinkCounter } from './link-counters.ts'
import type { Voice } from './link-voice.ts'
import { Listeners } from './listeners.ts'
import type { LivenessEvent } from './liveness.ts'
import type { Peer } from './peer.ts'

/** What the inbox asks of the links. */
export interface InboxPorts {
  count(what: LinkCounter): void
  drive(peer: Peer, event: LivenessEvent): void
  /** The peer's bytes end this link. */
  lost(peer: Peer, link: Link): void
}

/** Whether frames of that type go over the link to it. */
export const speaks = ({ version }: Peer, type: number): boolean =>
  (version ?? 0) >= (TYPE_VERSION[type] ?? 0)

/** Of frames that an older peer must not send. */
const LATER: Readonly<Partial<Record<DecodedFrame['type'], number>>> = {
  health: FRAME.HEALTH,
  atoms: FRAME.ATOMS,
  'atom-member': FRAME.ATOM_MEMBER,
  'who-owns': FRAME.WHO_OWNS,
  owned: FRAME.OWNED,
}

export const mayHaveAtoms = ({ config }: Peer): boolean =>
  config.roles.some(role => ATOM_ROLES.includes(role))

export class Inbox {
  readonly frames: Listeners<[peer: string, frame: DecodedFrame]>
  readonly digests: Listeners<[peer: string, digest: bigint, revision: number]>
  readonly #rules: GreetingRules
  readonly #voice: Voice
  readonly #ports: InboxPorts
  readonly #log: Logger

  constructor(rules: GreetingRules, voice: Voice, ports: InboxPorts, log: Logger) {
    this.#rules = rules
    this.#voice = voice
    this.#ports = ports
    this.#log = log
    this.frames = new Listeners(log)
    this.digests = new Listeners(log)
  }

  take(peer: Peer, link: Link, frames: readonly DecodedFrame[]): void {
    for (const frame of frames) {
      // An earlier frame may have ended the link.
      if (peer.link !== link) return
      this.#ports.count('frames_in')
      const greeting = peer.live.phase === 'greeting'
      if (frame.type === 'goodbye') this.#goodbye(peer, frame.reason)
      else if (greeting && frame.type === 'hello') this.#hello(peer, link, frame)
      else if (greeting || frame.type === 'hello') {
        this.#ports.count('frame_out_of_turn')
        link.close('frame out of turn')
        this.#ports.lost(peer, link)
      } else this.#greeted(peer, link, frame)
    }
  }

  /** Logged once, not at every try. */
  complain(peer: Peer, complaint: string): void {
    if (peer.complaint === complaint) return
    peer.complaint = complaint
    this.#log.warn({ peer: peer.config.name, complaint }, 'link to peer refused')
  }

  #hello(peer: Peer, link: Link, hello: HelloFrame): void {
    const refusal = refusalOf(hello, peer.config, this.#rules)
    if (refusal === undefined) {
      peer.epoch = hello.epoch
      peer.version = negotiated(this.#rules.versions, hello)
      peer.knowledge = null
      peer.dialFailures = 0
      this.#ports.drive(peer, { on: 'hello' })
      return
    }
    this.#ports.count('hello_refused')
    this.complain(peer, refusal)
    this.#voice.goodbye(link, refusal)
    this.#ports.drive(peer, { on: 'refused' })
  }

  #goodbye(peer: Peer, reason: string): void {
    this.#ports.count('goodbyes_in')
    if (peer.live.phase === 'alive') this.#log.info({ peer: peer.config.name, reason }, 'peer said goodbye')
    else this.complain(peer, `it refused this node: ${reason}`)
    this.#ports.drive(peer, { on: 'goodbye' })
  }

  #greeted(peer: Peer, link: Link, frame: Exclude<DecodedFrame, HelloFrame | { type: 'goodbye' }>): void {
    if (frame.type === 'heartbeat') {
      this.#heartbeat(peer, link, frame)
      return
    }
    this.#ports.drive(peer, { on: 'heard' })
    if (frame.type === 'heartbeat-echo') this.#echo(peer, frame)
    else if (SENDER_ROLES[frame.type]?.some(role => peer.config.roles.includes(role)) === false)
      this.#ports.count('frame_wrong_role')
    else if (!speaks(peer, LATER[frame.type] ?? 0)) this.#ports.count('frame_wrong_version')
    // Of a member, who it is is kept, in case its role is only just on its way here.
    else if (frame.type === 'atoms' && !mayHaveAtoms(peer)) this.#ports.count('frame_wrong_role')
    else this.frames.tell(peer.config.name, frame)
  }

  #heartbeat(peer: Peer, link: Link, heartbeat: HeartbeatFrame): void {
    const { knowledge, draining, nextMs } = heartbeat
    const version = peer.version ?? 0
    const told = knowledge !== undefined && version >= DIGEST_VERSION
    if (told) peer.knowledge = knowledge
    if (heartbeat.wantsEcho) this.#voice.echo(link, heartbeat)
    const isPaced = nextMs !== undefined && version >= PACE_VERSION
    this.#ports.drive(peer, isPaced ? { on: 'heard', draining, nextMs } : { on: 'heard', draining })
    if (told) this.digests.tell(peer.config.name, knowledge.digest, knowledge.revision)
  }

  /** The time is our own note of when we asked: what the echo says of it is the peer's word. */
  #echo(peer: Peer, { sequence }: HeartbeatEcho): void {
    if (peer.probe?.sequence !== sequence) return
    peer.rttMs = performance.now() - peer.probe.atMs
    peer.probe = undefined
  }
}
