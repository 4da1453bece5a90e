/** Who is a member of the atom manager now (R-C4, R-C5): by links, signed roles and what each said of itself. Pure. */
import { createHash } from 'node:crypto'
import type { Member } from '../../dam/types.ts'

/**
 * A link that is down for less ends no membership: agents are restarted, links are made anew. Nothing waits for such a member meanwhile;
 * it only is not taken for lost yet, which would move all its atoms.
 */
const GRACE_MS = 2_500

/** What is known of a peer by its link and the course. */
export interface PeerFacts {
  readonly name: string
  /** It has a role for atoms, by signed membership. */
  readonly hasRole: boolean
  /** Its link is up, and speaks of atoms. */
  readonly linked: boolean
  /** Its machine answers no probes. */
  readonly dead: boolean
}

interface Said {
  readonly incarnation: number
  readonly leaving: boolean
  /** Since when its link is down; null: it is up. */
  downMs: number | null
}

export interface Membership {
  readonly members: readonly Member[]
  /** Those that can be asked now. */
  readonly linked: ReadonlySet<string>
  /** When a look again is due; Infinity: when something changes. */
  readonly wakeAtMs: number
}

export const memberHash = (name: string): number => createHash('sha256').update(name).digest().readUInt32BE(0)

export class MemberBook {
  /** By name: at most one a peer, for those that are no peers are not heard. */
  readonly #said = new Map<string, Said>()

  /** What a peer said of itself on the link that is up now. */
  said(name: string, incarnation: number, leaving: boolean): void {
    this.#said.set(name, { incarnation, leaving, downMs: null })
  }

  /** @param self left out: this node is none; its peers are followed all the same */
  look(peers: readonly PeerFacts[], self: Member | null, nowMs: number): Membership {
    const members: Member[] = self === null ? [] : [self]
    const linked = new Set<string>()
    let wakeAtMs = Number.POSITIVE_INFINITY
    const known = new Set(peers.map(({ name }) => name))
    for (const name of this.#said.keys()) if (!known.has(name)) this.#said.delete(name)
    for (const { name, hasRole, linked: up, dead } of peers) {
      const said = this.#said.get(name)
      if (said === undefined) continue
      if (up) said.downMs = null
      else said.downMs ??= nowMs
      const goneAtMs = said.downMs === null ? Number.POSITIVE_INFINITY : said.downMs + GRACE_MS
      if (!up && (said.leaving || dead || nowMs >= goneAtMs)) {
        this.#said.delete(name)
        continue
      }
      wakeAtMs = Math.min(wakeAtMs, goneAtMs)
      if (!hasRole || dead) continue
      const { incarnation, leaving } = said
      members.push({ member: name, incarnation, hash: memberHash(name), ...(leaving && { leaving }) })
      if (up) linked.add(name)
    }
    return { members, linked, wakeAtMs }
  }
}
