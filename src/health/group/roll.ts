/**
 * What a leader knows of its group's members during one reign: each one's newest heartbeat, for the consolidated ones
 * (R-B7). It does not verify tokens; the units do, so that a leader can be neither fooled nor a forger.
 */
import type { HeartbeatEntry } from '../types.ts'
import { SILENCE_BEATS } from './election.ts'
import type { GroupHost } from './groups.ts'

/** Beats in a row that `gone` is told in mode 'changes': a unit that misses all of them has the lease's end. */
export const GONE_BEATS = 3
/** A beat number lower by at most this much is an older heartbeat that came late; lower by more, a host that started again. */
const REORDERED = 8

interface Mark {
  member: GroupHost
  /** Its flags and DNS name are those of all heartbeats since it was last passed on. */
  entry: HeartbeatEntry | null
  heardMs: number
  /** Not a member at the start of this reign, or lost since then: its next heartbeat says hello. */
  isNew: boolean
  goneBeats: number
}

export class Roll {
  readonly #me: string
  readonly #silenceMs: number
  readonly #isAlive: (name: string) => boolean
  readonly #marks = new Map<string, Mark>()

  /** `me`: never gone. */
  constructor(
    me: string,
    beatMs: number,
    isAlive: (name: string) => boolean,
    members: Iterable<GroupHost>,
    nowMs: number,
  ) {
    this.#me = me
    this.#silenceMs = SILENCE_BEATS * beatMs
    this.#isAlive = isAlive
    for (const member of members) this.#add(member, false, nowMs)
  }

  setMembers(members: ReadonlyMap<string, GroupHost>, nowMs: number): void {
    for (const name of this.#marks.keys()) if (!members.has(name)) this.#marks.delete(name)
    for (const [name, member] of members) {
      const mark = this.#marks.get(name)
      if (mark === undefined) this.#add(member, true, nowMs)
      else if (mark.member.host === member.host) mark.member = member
      else Object.assign(mark, { member, entry: null })
    }
  }

  /** A member's own heartbeat; of those that are not members nothing is kept. */
  heard(name: string, entry: HeartbeatEntry, nowMs: number): void {
    const mark = this.#marks.get(name)
    if (mark === undefined) return
    const held = mark.entry
    if (held !== null && !entry.hello && entry.beat <= held.beat && held.beat - entry.beat <= REORDERED)
      return
    mark.entry = {
      ...entry,
      hello: entry.hello || held?.hello === true || mark.isNew,
      // The first of a reign goes on in mode 'changes' too: what was to be passed on may have been lost with the last leader.
      forward: entry.forward || (held?.forward ?? true),
      dnsName: entry.dnsName === '' ? (held?.dnsName ?? '') : entry.dnsName,
    }
    mark.heardMs = nowMs
    mark.isNew = false
    mark.goneBeats = 0
  }

  /** What is to be passed on now, by host number. `changesOnly`: entries with a flag, and losses of these beats only. */
  take(changesOnly: boolean, nowMs: number): { entries: HeartbeatEntry[]; gone: number[] } {
    const entries: HeartbeatEntry[] = []
    const gone: number[] = []
    for (const mark of this.#marks.values()) {
      if (this.#isLost(mark, nowMs)) {
        mark.entry = null
        mark.isNew = true
        if (!changesOnly || mark.goneBeats < GONE_BEATS) gone.push(mark.member.host)
        mark.goneBeats = Math.min(mark.goneBeats + 1, GONE_BEATS)
      } else if (mark.entry !== null && (!changesOnly || mark.entry.hello || mark.entry.forward)) {
        entries.push(mark.entry)
        mark.entry = { ...mark.entry, hello: false, forward: false, dnsName: '' }
      }
    }
    return { entries: entries.sort((a, b) => a.host - b.host), gone: gone.sort((a, b) => a - b) }
  }

  /** Those whose heartbeats came in this reign. */
  members(): { name: string; beat: number; heardMs: number }[] {
    return [...this.#marks].flatMap(([name, { entry, heardMs }]) =>
      entry === null ? [] : [{ name, beat: entry.beat, heardMs }],
    )
  }

  #add(member: GroupHost, isNew: boolean, nowMs: number): void {
    this.#marks.set(member.name, { member, entry: null, heardMs: nowMs, isNew, goneBeats: 0 })
  }

  #isLost(mark: Mark, nowMs: number): boolean {
    const { name } = mark.member
    return name !== this.#me && (!this.#isAlive(name) || nowMs - mark.heardMs > this.#silenceMs)
  }
}
