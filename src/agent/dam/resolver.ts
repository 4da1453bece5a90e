/**
 * Finds the host of a packet from the middle of a flow that its forwarder does not know (R-D5, R-G7; decision 6): own atoms, those of other
 * members, then the hosts themselves. The packet path holds the packets meanwhile, and asks again what is not answered.
 */
import type { Atom } from '../../dam/types.ts'
import { ATOM_KIND } from '../../dam/types.ts'
import { FLOW_KEY_WORDS } from '../dataplane/flow-key.ts'
import { RESOLVE_WORDS, RESOLVED } from '../dataplane/messages.ts'
import type { OwnerAsker } from './owner-questions.ts'
import { type DamPolicy, keyOf } from './policy.ts'
import type { Resolved } from './words.ts'

/** Flows that are being looked for: more than the packet path asks for at once; and of those of which only one packet has come. */
export const MOST_OPEN = 65_536
const MOST_OPEN_ONCE = MOST_OPEN / 2

interface Early {
  readonly sought: Sought
  readonly index: number
}

interface Sought {
  readonly flow: Uint32Array
  /** Packets of it have come again: a client's rather than a flood's. */
  readonly again: boolean
}

export interface ResolverPorts {
  policy(): DamPolicy
  /** QueryAtom; may answer at once. */
  query(key: Uint32Array, again: boolean, tell: (atom: Atom | null, certain: boolean) => void): void
  isOwn(atom: Atom): boolean
  /** The other members can be asked: before that nobody can say that a client has no session. */
  hasHeard(): boolean
  /** Null: hosts cannot be asked. */
  owners(): OwnerAsker | null
  /** At the end of this turn, with all that came in it. */
  answer(records: readonly Resolved[]): void
}

export class Resolver {
  readonly counters = {
    asked: 0,
    own_atoms: 0,
    member_atoms: 0,
    hosts: 0,
    nobodys: 0,
    /** Not answered: some host that could have it was silent. */
    unknown: 0,
    refused: 0,
  }
  readonly #ports: ResolverPorts
  #open = 0
  #answers: Resolved[] = []
  /** Clients that nobody could be asked about yet. */
  #early: Early[] = []
  /** By service. */
  #forHosts = new Map<string, Sought[]>()
  #isDue = false

  constructor(ports: ResolverPorts) {
    this.#ports = ports
  }

  /** Flows that are being looked for. */
  get open(): number {
    return this.#open
  }

  /** @param words records of RESOLVE_WORDS */
  resolve(words: Uint32Array): void {
    for (let at = 0; at + RESOLVE_WORDS <= words.length; at += RESOLVE_WORDS) {
      this.counters.asked++
      const again = words[at + FLOW_KEY_WORDS + 2] !== 0
      if (this.#open >= (again ? MOST_OPEN : MOST_OPEN_ONCE)) {
        this.counters.refused++
        continue
      }
      const flow = words.slice(at, at + FLOW_KEY_WORDS)
      this.#one({ flow, again }, words[at + FLOW_KEY_WORDS], words[at + FLOW_KEY_WORDS + 1])
    }
  }

  /** `hasHeard` has become true. */
  heard(): void {
    const early = this.#early
    this.#early = []
    this.#open -= early.length
    for (const { sought, index } of early) this.#one(sought, ATOM_KIND.clientAddress, index)
  }

  #one(sought: Sought, kind: number, index: number): void {
    const { flow, again } = sought
    const policy = this.#ports.policy()
    const service = policy.serviceAt(index)
    const isClient = kind === ATOM_KIND.clientAddress
    this.#open++
    if (isClient && !this.#ports.hasHeard()) {
      this.#early.push({ sought, index })
      return
    }
    const elsewhere = (certain: boolean): void => {
      const hasHosts = kind === ATOM_KIND.flow && service !== undefined && this.#ports.owners() !== null
      if (hasHosts) this.#askHosts(service.name, sought)
      else if (certain) this.#answer(flow, 0, RESOLVED.nobody)
      else this.#unknown()
    }
    const hasAtoms = isClient ? service?.affinity !== undefined : policy.copies(service) !== null
    if (!hasAtoms) elsewhere(true)
    else
      this.#ports.query(keyOf(flow, kind), again, (atom, certain) => {
        // A host that no service has any more is nobody's; nor does a client's session go on after its end.
        if (atom === null || (isClient && atom.zombie)) elsewhere(certain)
        else if (this.#ports.policy().hostName(atom.host) === undefined) elsewhere(certain)
        else this.#answer(flow, atom.host, this.#ports.isOwn(atom) ? RESOLVED.ownAtom : RESOLVED.memberAtom)
      })
  }

  /** A silent one may have it: the packet path asks again, and its packet waits. */
  #unknown(): void {
    this.counters.unknown++
    this.#open--
  }

  #askHosts(service: string, sought: Sought): void {
    const all = this.#forHosts.get(service)
    if (all === undefined) this.#forHosts.set(service, [sought])
    else all.push(sought)
    this.#soon()
  }

  #answer(flow: Uint32Array, host: number, how: number): void {
    const { counters } = this
    if (how === RESOLVED.ownAtom) counters.own_atoms++
    else if (how === RESOLVED.memberAtom) counters.member_atoms++
    else if (how === RESOLVED.host) counters.hosts++
    else counters.nobodys++
    this.#open--
    this.#answers.push({ flow, host, how })
    this.#soon()
  }

  #soon(): void {
    if (this.#isDue) return
    this.#isDue = true
    queueMicrotask(() => {
      this.#isDue = false
      const [answers, forHosts] = [this.#answers, this.#forHosts]
      this.#answers = []
      this.#forHosts = new Map()
      for (const [service, all] of forHosts) void this.#ask(service, all)
      if (answers.length > 0) this.#ports.answer(answers)
    })
  }

  async #ask(service: string, all: readonly Sought[]): Promise<void> {
    const flows = all.map(({ flow }) => flow)
    const again = all.map(sought => sought.again)
    const answers =
      (await this.#ports
        .owners()
        ?.ask(service, flows, again)
        .catch(() => [])) ?? []
    flows.forEach((flow, i) => {
      const { host, certain } = answers[i] ?? { host: null, certain: false }
      const address = host === null ? undefined : this.#ports.policy().hostAddress(host)
      if (address !== undefined) this.#answer(flow, address, RESOLVED.host)
      else if (certain) this.#answer(flow, 0, RESOLVED.nobody)
      else this.#unknown()
    })
  }
}
