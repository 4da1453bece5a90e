import { type ChoiceHost, ChoiceTables } from '../../classify/choice-table.ts'
import { CHOICES } from '../../classify/rendezvous.ts'
import { CLASS_CHOICES_BYTES, CLASS_SERVICE, CLASS_SERVICE_BYTES } from './layout/edge.ts'

const UNTIL = CLASS_SERVICE.until / 8
const CHOICE = CLASS_SERVICE.choices / 4

/**
 * Which services' first packets the kernel decides about, and whom their clients get, in memory that its programs read (`class_services` and
 * `class_choices` of edge.bpf.c). A table changes byte by byte, so at any time each part of the clients has its host of before or of after.
 */
export class ClassTables {
  readonly #tables: ChoiceTables
  readonly #words: BigUint64Array
  readonly #halves: Uint32Array
  readonly #choices: Uint8Array
  /** Service number -> its table, and what that was made of. */
  readonly #known = new Map<number, { readonly table: number; made: string }>()
  /** The one that is free longest comes first: nobody reads it any more. */
  readonly #free: number[]

  /** The values of both maps, from their first byte on: what an agent before said is forgotten. `k0`, `k1`: of the cluster's choice. */
  constructor(services: Uint8Array<ArrayBuffer>, choices: Uint8Array<ArrayBuffer>, k0: number, k1: number) {
    this.#tables = new ChoiceTables(k0, k1)
    this.#words = new BigUint64Array(services.buffer, services.byteOffset, services.byteLength / 8)
    this.#halves = new Uint32Array(services.buffer, services.byteOffset, services.byteLength / 4)
    this.#choices = choices
    this.#words.fill(0n)
    this.#free = Array.from({ length: choices.byteLength / CLASS_CHOICES_BYTES }, (_, table) => table)
  }

  get numbers(): IterableIterator<number> {
    return this.#known.keys()
  }

  has(number: number): boolean {
    return this.#known.has(number)
  }

  /**
   * The service's flows are the kernel's, for these hosts.
   * @param untilNs of CLOCK_MONOTONIC: the agent must have renewed it before
   * @returns false: there is no room for it, or nobody to choose; they are the agent's
   */
  set(number: number, hosts: readonly ChoiceHost[], untilNs: bigint): boolean {
    if (hosts.length === 0 || (number * CLASS_SERVICE_BYTES) / 8 >= this.#words.length) {
      this.delete(number)
      return false
    }
    const made = hosts.map(({ index, hash, weight }) => `${index} ${hash} ${weight}`).join()
    let known = this.#known.get(number)
    if (known?.made === made) return true
    if (known === undefined) {
      const table = this.#free.shift()
      if (table === undefined) return false
      known = { table, made }
    }
    const at = known.table * CLASS_CHOICES_BYTES
    this.#tables.fill(hosts, this.#choices.subarray(at, at + CHOICES))
    known.made = made
    if (this.#known.has(number)) return true
    this.#known.set(number, known)
    this.#halves[(number * CLASS_SERVICE_BYTES) / 4 + CHOICE] = known.table
    this.#renew(number, untilNs)
    return true
  }

  /** The service's flows are the agent's from here on. */
  delete(number: number): void {
    const known = this.#known.get(number)
    if (known === undefined) return
    this.#renew(number, 0n)
    this.#known.delete(number)
    this.#free.push(known.table)
  }

  /** All that are the kernel's stay so until then. */
  renew(untilNs: bigint): void {
    for (const number of this.#known.keys()) this.#renew(number, untilNs)
  }

  #renew(number: number, untilNs: bigint): void {
    Atomics.store(this.#words, (number * CLASS_SERVICE_BYTES) / 8 + UNTIL, untilNs)
  }

  /** Hosts of other hashes have gone. */
  keep(hashes: ReadonlySet<number>): void {
    this.#tables.keep(hashes)
  }
}
