/** What packets and hosts say of connections and clients becomes atoms of this member's own (R-C5): put, touched and ended. */
import type { Dam } from '../../dam/dam.ts'
import { isUnheard, sameOrigin } from '../../dam/order.ts'
import { ATOM_KIND, type Atom, FULL, type Member } from '../../dam/types.ts'
import { FLOW_KEY_WORDS } from '../dataplane/flow-key.ts'
import { ATOM_OP, ATOM_WORDS } from '../dataplane/messages.ts'
import { type DamPolicy, keyOf, kindOf } from './policy.ts'

export interface OwnSessionsParts {
  /** Null: this node is no member. */
  dam(): Dam | null
  self(): Member | null
  policy(): DamPolicy
  readonly counters: { puts: number; ends: number; full: number }
  /** The worker chose for a client without knowing of this atom. */
  outdated(atom: Atom): void
  /** Something is to be sent. */
  written(): void
}

export class OwnSessions {
  readonly #parts: OwnSessionsParts

  constructor(parts: OwnSessionsParts) {
    this.#parts = parts
  }

  /** @param words records of ATOM_WORDS */
  said(words: Uint32Array): void {
    if (this.#parts.dam() === null) return
    const policy = this.#parts.policy()
    for (let at = 0; at + ATOM_WORDS <= words.length; at += ATOM_WORDS) {
      const service = policy.serviceAt(words[at + FLOW_KEY_WORDS + 2])
      const host = words[at + FLOW_KEY_WORDS]
      const op = words[at + FLOW_KEY_WORDS + 1]
      const said = words.subarray(at, at + FLOW_KEY_WORDS)
      if (kindOf(said) === ATOM_KIND.clientAddress) {
        this.#client(said, host, op)
        continue
      }
      if (policy.copies(service) === null) continue
      const key = keyOf(said, ATOM_KIND.flow)
      if (op === ATOM_OP.end) this.end(key)
      else this.#inUse(key, host, op === ATOM_OP.put)
    }
  }

  put(key: Uint32Array, host: number, heard = true): void {
    const { counters, written } = this.#parts
    const dam = this.#parts.dam()
    const level = this.levelOf(key)
    if (level === null || dam === null) return
    if (dam.put(key, host, level, Date.now(), performance.now(), heard) === undefined) counters.full++
    else counters.puts++
    written()
  }

  end(key: Uint32Array): void {
    if (this.#parts.dam()?.end(key, Date.now(), performance.now()) === undefined) return
    this.#parts.counters.ends++
    this.#parts.written()
  }

  /** Null: no atoms. */
  levelOf(key: Uint32Array): number | null {
    const policy = this.#parts.policy()
    const service = policy.serviceOf(key)
    if (kindOf(key) !== ATOM_KIND.clientAddress) return policy.copies(service)
    // Wherever the client's next connection comes by, its host is known.
    return service?.affinity === undefined ? null : FULL
  }

  isOwn({ owner }: Atom): boolean {
    const self = this.#parts.self()
    return self !== null && sameOrigin(owner, self)
  }

  own(key: Uint32Array): Atom | null {
    const atom = this.#parts.dam()?.local(key) ?? null
    return atom !== null && !atom.zombie && this.isOwn(atom) ? atom : null
  }

  /** The worker says so only now and then, so that all hear that the session goes on; another member's is this one's by that. */
  #client(key: Uint32Array, host: number, op: number): void {
    // Another member may have seen more of the client.
    if (op === ATOM_OP.end) return this.own(key) === null ? undefined : this.end(key)
    const here = op === ATOM_OP.unheard ? (this.#parts.dam()?.local(key) ?? null) : null
    if (here === null || here.zombie || (this.isOwn(here) && isUnheard(here.generation)))
      return this.put(key, host, op !== ATOM_OP.unheard)
    // What the worker has not heard of yet stands; it agrees, or is told.
    if (here.host === host) this.put(key, host)
    else this.#parts.outdated(here)
  }

  #inUse(key: Uint32Array, host: number, isNew: boolean): void {
    const dam = this.#parts.dam()
    const here = dam?.local(key) ?? null
    if (here !== null && !here.zombie) {
      // Another member's by now is not taken back by packets that were seen before that was known.
      const isSame = this.isOwn(here) ? here.host === host && here.level === this.levelOf(key) : !isNew
      if (isSame) {
        dam?.touch(key, performance.now())
        return
      }
    }
    this.put(key, host)
  }
}
