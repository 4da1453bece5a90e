/** What a forwarder knows of the other ones: of their machines, of their agents, and what they say themselves. Pure. */
import type { Standing } from './types.ts'

export type Machine = 'alive' | 'dead' | 'unknown'

export interface Member {
  readonly name: string
  machine: Machine
  linked: boolean
  /** Since when the agent is not to be heard, while it is not. */
  silentSinceMs: number
  /** What it said last on this link. */
  standing: Standing | null
  /** It was heard after its machine seemed dead: probes are lost, not the machine. */
  proven: boolean
}

export class Members {
  readonly #members = new Map<string, Member>()

  get(name: string): Member | undefined {
    return this.#members.get(name)
  }

  all(): Member[] {
    return [...this.#members.values()]
  }

  /** These from now on; those that stay go on. */
  set(names: readonly string[], nowMs: number): void {
    for (const name of this.#members.keys()) if (!names.includes(name)) this.#members.delete(name)
    for (const name of names)
      if (!this.#members.has(name))
        this.#members.set(name, {
          name,
          machine: 'unknown',
          linked: false,
          silentSinceMs: nowMs,
          standing: null,
          proven: false,
        })
  }

  /**
   * Nothing of it is there any more. By decision 7 its kernel answers probes: it is dead if it does not, unless its agent was heard since, or
   * another forwarder that can be heard still sees it; those say so at once when they no longer do.
   */
  isDead(member: Member): boolean {
    if (member.machine !== 'dead' || (member.linked && member.proven)) return false
    return !this.all().some(
      other => other !== member && this.speaks(other) && other.standing!.sees.includes(member.name),
    )
  }

  /** Its agent is there, as far as can be known here. */
  speaks({ linked, standing, machine, proven }: Member): boolean {
    return linked && standing !== null && (machine !== 'dead' || proven)
  }

  /** VIPs, from now on or soon. */
  willTake(member: Member): boolean {
    return this.speaks(member) && !member.standing!.leaving
  }

  canTake(member: Member): boolean {
    return this.willTake(member) && member.standing!.ready
  }

  /**
   * Why it holds nothing any more; else when to ask again.
   * @param silentMs after so much silence of its agent, its kernel has let go of everything
   */
  gone(member: Member, silentMs: number, nowMs: number): 'dead' | 'silent' | number {
    if (this.isDead(member)) return 'dead'
    if (member.linked) return Number.POSITIVE_INFINITY
    const atMs = member.silentSinceMs + silentMs
    return nowMs >= atMs ? 'silent' : atMs
  }

  /** As this node tells it to others. */
  seen(): string[] {
    return this.all()
      .filter(({ machine, linked, proven }) =>
        machine === 'dead' ? linked && proven : linked || machine === 'alive',
      )
      .map(({ name }) => name)
  }
}
