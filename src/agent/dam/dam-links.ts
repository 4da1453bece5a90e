/** Between the atom manager and the kept streams: who is a member, and what members say to each other (R-C4). */
import type { Logger } from 'pino'
import { encodeDam } from '../../dam/codec.ts'
import type { DamMessage, Member } from '../../dam/types.ts'
import { errorText } from '../../errors.ts'
import { ATOM_ROLES, ATOMS_VERSION, encodeAtomMember, encodeAtoms } from '../../gossip/frames.ts'
import type { PeerLinks } from '../../gossip/links-api.ts'
import type { PeerState } from '../../gossip/peer.ts'
import { RateByKey } from '../../gossip/rate-by-key.ts'
import { Due } from './due.ts'
import { DamInbox } from './inbox.ts'
import { MemberBook } from './member-book.ts'
import { Outgoing } from './outgoing.ts'

/** Every new life of a member moves atoms: one that goes on to tell of others is believed the last of them, once in a while. */
const SAID_RATE = { ratePerS: 1, burst: 16 }
const SAID_AGAIN_MS = 1_000

export interface DamLinksPorts {
  members(members: readonly Member[]): void
  /** The link to a member is new, or something on it was lost. */
  linked(member: string): void
  /** The member that a peer is; undefined: it is none. */
  member(peer: string): Member | undefined
  receive(member: string, message: DamMessage): void
  /** That machine answers no probes. */
  isDead(name: string): boolean
}

export const hasAtomRole = (roles: readonly string[]): boolean =>
  roles.some(role => (ATOM_ROLES as readonly string[]).includes(role))
const speaks = ({ state, version }: PeerState): boolean =>
  state === 'alive' && (version ?? 0) >= ATOMS_VERSION
/** A packet waits for these. */
const isUrgent = ({ type }: DamMessage): boolean => type === 'query' || type === 'return'

export class DamLinks {
  readonly #links: PeerLinks
  readonly #ports: DamLinksPorts
  readonly #log: Logger
  readonly #book = new MemberBook()
  readonly #inbox = new DamInbox()
  readonly #outgoing: Outgoing
  readonly #pump = new Due(() => this.pump())
  readonly #look = new Due(() => this.look())
  readonly #saidRates = new RateByKey(SAID_RATE)
  #self: Member | null = null
  /** Members that can be asked, and peers whose links are up. */
  #linked: ReadonlySet<string> = new Set()
  #awaited: readonly string[] = []
  readonly #up = new Set<string>()
  #strangers = 0
  /** Words of members of themselves that were believed later, with what they said then. */
  #saidLater = 0

  constructor(links: PeerLinks, log: Logger, ports: DamLinksPorts) {
    this.#links = links
    this.#log = log
    this.#ports = ports
    this.#outgoing = new Outgoing({
      send: (member, frame) => links.send(member, frame),
      backlog: member => links.backlog(member),
      lost: member => ports.linked(member),
    })
    links.onFrame((peer, frame) => {
      if (frame.type === 'atom-member') {
        this.#book.said(peer, frame.incarnation, frame.leaving)
        if (this.#saidRates.take(peer, performance.now())) this.look()
        else {
          this.#saidLater++
          this.#look.within(SAID_AGAIN_MS)
        }
      } else if (frame.type === 'atoms') this.#receive(peer, frame.body)
    })
    links.onChange(peer => this.#changed(peer))
  }

  /** Load balancing units that are to be members, and cannot be asked yet; those that are dead, or too old, are none. */
  get awaited(): readonly string[] {
    return this.#awaited
  }

  /** Members that can be asked now. */
  get linked(): ReadonlySet<string> {
    return this.#linked
  }

  /** Of the member for which most waits. */
  get waitingBytes(): number {
    return this.#outgoing.mostBytes
  }

  counted(): Record<string, number> & { strangers: number } {
    return {
      strangers: this.#strangers,
      members_over_rate: this.#saidLater,
      ...this.#inbox.counters,
      ...this.#outgoing.counters,
    }
  }

  /** What this node is from now on, told to all; null: no member. */
  be(self: Member | null): void {
    this.#self = self
    for (const peer of this.#links.states()) this.#say(peer)
  }

  /** Something may have changed: who is linked, roles, machines. */
  look(): void {
    const nowMs = performance.now()
    const states = this.#links.states()
    const peers = states.map(peer => ({
      name: peer.name,
      hasRole: hasAtomRole(peer.roles),
      linked: speaks(peer),
      dead: this.#ports.isDead(peer.name),
    }))
    const { members, linked, wakeAtMs } = this.#book.look(peers, this.#self, nowMs)
    this.#linked = linked
    this.#awaited = states
      .filter(peer => hasAtomRole(peer.roles) && (peer.state !== 'alive' || speaks(peer)))
      .flatMap(({ name }) => (linked.has(name) || this.#ports.isDead(name) ? [] : [name]))
    if (Number.isFinite(wakeAtMs)) this.#look.within(Math.max(1, wakeAtMs - nowMs))
    if (this.#self !== null) this.#ports.members(members)
  }

  send(member: string, message: DamMessage): void {
    if (!this.#linked.has(member) || this.#self === null) return
    try {
      const frame = encodeAtoms(encodeDam(message, this.#self))
      this.#outgoing.push(member, frame, isUrgent(message), performance.now())
    } catch (error) {
      this.#log.error({ error: errorText(error), type: message.type }, 'atoms could not be written')
    }
  }

  /** Sends what may go now of what waits, and the rest by and by. */
  pump(): void {
    const nowMs = performance.now()
    const wakeAtMs = this.#outgoing.pump(nowMs)
    if (Number.isFinite(wakeAtMs)) this.#pump.within(wakeAtMs - nowMs)
  }

  stop(): void {
    this.#self = null
    this.#pump.stop()
    this.#look.stop()
  }

  #changed(peer: PeerState): void {
    if (!speaks(peer)) {
      this.#up.delete(peer.name)
      this.#outgoing.drop(peer.name)
      this.look()
      return
    }
    const isNew = !this.#up.has(peer.name)
    this.#up.add(peer.name)
    this.#say(peer)
    this.look()
    // Atoms that were on their way by the link before may be lost.
    if (isNew) this.#ports.linked(peer.name)
  }

  #say(peer: PeerState): void {
    if (this.#self === null || !speaks(peer) || !hasAtomRole(peer.roles)) return
    const { incarnation, leaving = false } = this.#self
    this.#links.send(peer.name, encodeAtomMember({ incarnation, leaving }))
  }

  #receive(peer: string, body: Uint8Array): void {
    const from = this.#ports.member(peer)
    if (from === undefined) {
      this.#strangers++
      return
    }
    const message = this.#inbox.take(from, body, performance.now())
    if (message !== null) this.#ports.receive(peer, message)
  }
}
