/**
 * Atoms that nobody vouches for are checked with the hosts, slowly: those taken over from a member that died, and own ones that have long not
 * been in use. A host that has the connection confirms its atom; one that certainly nobody has ends.
 */
import type { Atom } from '../../dam/types.ts'
import { ATOM_KIND } from '../../dam/types.ts'
import type { OwnerAsker } from './owner-questions.ts'
import { type DamPolicy, flowOf, kindOf } from './policy.ts'

/** Keys of one round; a round a second. */
const MOST_KEYS = 512
/** Taken-over atoms whose hosts were silent wait here for another turn; the idle check finds those that do not fit. */
const MOST_AGAIN = 65_536
/** A host answers for a connection that is over while it is in TIME-WAIT (60 s): what it confirms first is asked about once more after that. */
export const CONFIRM_AGAIN_MS = 90_000

export interface OwnerCheckPorts {
  nowMs(): number
  policy(): DamPolicy
  owners(): OwnerAsker | null
  /** Keys of atoms that were taken over, each given once. */
  unsure(most: number): readonly Uint32Array[]
  /** Keys of own atoms that have not been in use for long. */
  idle(most: number): readonly Uint32Array[]
  /** This node's own live atom of the key. */
  own(key: Uint32Array): Atom | null
  put(key: Uint32Array, host: number): void
  /** Its host has it. */
  touch(key: Uint32Array): void
  /** Nobody knows. */
  keep(key: Uint32Array): void
  end(key: Uint32Array): void
}

export class OwnerChecks {
  readonly counters = {
    ...{ checked: 0, confirmed: 0, moved: 0, ended: 0, unknown: 0 },
    /** No room to wait for another turn: the idle check finds them. */
    left_to_idle: 0,
  }
  readonly #ports: OwnerCheckPorts
  #again: Uint32Array[] = []
  /** Confirmed once; in the order of their time. */
  #confirmed: { readonly key: Uint32Array; readonly atMs: number }[] = []
  #isAsking = false

  constructor(ports: OwnerCheckPorts) {
    this.#ports = ports
  }

  /** Taken-over atoms that wait for another question. */
  get waiting(): number {
    return this.#again.length
  }

  /** Once a second. */
  async round(): Promise<void> {
    const owners = this.#ports.owners()
    if (owners === null || this.#isAsking) return
    this.#isAsking = true
    try {
      const fresh = this.#ports.unsure(MOST_KEYS)
      const unsure = [...fresh, ...this.#again.splice(0, MOST_KEYS - fresh.length)]
      const due = this.#due(MOST_KEYS - unsure.length)
      const idle = this.#ports.idle(MOST_KEYS - unsure.length - due.length)
      const known = new Set(unsure)
      await Promise.all(
        [...this.#byService([...unsure, ...due, ...idle], known)].map(async ([service, keys]) => {
          const answers = await owners.ask(service, keys.map(flowOf)).catch(() => [])
          keys.forEach((key, i) => {
            this.#answered(key, known.has(key), answers[i] ?? { host: null, certain: false })
          })
        }),
      )
    } finally {
      this.#isAsking = false
    }
  }

  #due(most: number): Uint32Array[] {
    const nowMs = this.#ports.nowMs()
    const later = this.#confirmed.findIndex(({ atMs }) => atMs > nowMs)
    const count = Math.min(most, later < 0 ? this.#confirmed.length : later)
    return this.#confirmed.splice(0, count).map(({ key }) => key)
  }

  #byService(keys: readonly Uint32Array[], unsure: ReadonlySet<Uint32Array>): Map<string, Uint32Array[]> {
    const found = new Map<string, Uint32Array[]>()
    for (const key of keys) {
      if (this.#ports.own(key) === null) continue
      const service = kindOf(key) === ATOM_KIND.flow ? this.#ports.policy().serviceOf(key) : undefined
      if (service === undefined) {
        // Hosts hold no sockets of other kinds, and of no service's that is gone: what is idle has ended.
        if (kindOf(key) === ATOM_KIND.flow || !unsure.has(key)) this.#ports.end(key)
        else this.#ports.keep(key)
        continue
      }
      const list = found.get(service.name)
      if (list === undefined) found.set(service.name, [key])
      else list.push(key)
    }
    return found
  }

  #answered(
    key: Uint32Array,
    isUnsure: boolean,
    { host, certain }: { host: string | null; certain: boolean },
  ): void {
    const { counters } = this
    counters.checked++
    const atom = this.#ports.own(key)
    if (atom === null) return
    const address = host === null ? undefined : this.#ports.policy().hostAddress(host)
    if (address !== undefined && address === atom.host) {
      counters.confirmed++
      if (!isUnsure) return this.#ports.touch(key)
      this.#ports.put(key, address)
      if (this.#confirmed.length >= MOST_AGAIN) counters.left_to_idle++
      else this.#confirmed.push({ key, atMs: this.#ports.nowMs() + CONFIRM_AGAIN_MS })
    } else if (address !== undefined) {
      counters.moved++
      this.#ports.put(key, address)
    } else if (certain) {
      counters.ended++
      this.#ports.end(key)
    } else {
      counters.unknown++
      this.#ports.keep(key)
      if (!isUnsure) return
      if (this.#again.length < MOST_AGAIN) this.#again.push(key)
      else counters.left_to_idle++
    }
  }
}
