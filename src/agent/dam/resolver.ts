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

/** Flows that are being looked for: more than the packet path asks for at once. */
const MOST_OPEN = 65_536

export interface ResolverPorts {
  policy(): DamPolicy
  /** QueryAtom; may answer at once. */
  query(key: Uint32Array, tell: (atom: Atom | null, certain: boolean) => void): void
  isOwn(atom: Atom): boolean
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
  /** By service. */
  #forHosts = new Map<string, Uint32Array[]>()
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
      if (this.#open >= MOST_OPEN) {
        this.counters.refused++
        continue
      }
      const flow = words.slice(at, at + FLOW_KEY_WORDS)
      this.#one(flow, words[at + FLOW_KEY_WORDS], words[at + FLOW_KEY_WORDS + 1])
    }
  }

  #one(flow: Uint32Array, kind: number, index: number): void {
    const policy = this.#ports.policy()
    const service = policy.serviceAt(index)
    this.#open++
    const elsewhere = (certain: boolean): void => {
      const hasHosts = kind === ATOM_KIND.flow && service !== undefined && this.#ports.owners() !== null
      if (hasHosts) this.#askHosts(service.name, flow)
      else if (certain) this.#answer(flow, 0, RESOLVED.nobody)
      else this.#unknown()
    }
    if (policy.copies(service) === null) elsewhere(true)
    else
      this.#ports.query(keyOf(flow, kind), (atom, certain) => {
        // A host that no service has any more is nobody's.
        if (atom === null || this.#ports.policy().hostName(atom.host) === undefined) elsewhere(certain)
        else this.#answer(flow, atom.host, this.#ports.isOwn(atom) ? RESOLVED.ownAtom : RESOLVED.memberAtom)
      })
  }

  /** A silent one may have it: the packet path asks again, and its packet waits. */
  #unknown(): void {
    this.counters.unknown++
    this.#open--
  }

  #askHosts(service: string, flow: Uint32Array): void {
    const keys = this.#forHosts.get(service)
    if (keys === undefined) this.#forHosts.set(service, [flow])
    else keys.push(flow)
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
      for (const [service, flows] of forHosts) void this.#ask(service, flows)
      if (answers.length > 0) this.#ports.answer(answers)
    })
  }

  async #ask(service: string, flows: readonly Uint32Array[]): Promise<void> {
    const answers =
      (await this.#ports
        .owners()
        ?.ask(service, flows)
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
