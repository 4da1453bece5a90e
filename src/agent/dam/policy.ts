/** Which service a key is of, how many copies its atoms get (R-C5), and who hosts are by the number that atoms name them by. Pure. */
import { copiesOf } from '../../config/fields.ts'
import type { NodeConfig } from '../../config/schema.ts'
import { type Directory, DirectoryIndex, type ServiceEntry } from '../dataplane/directory.ts'
import { FLOW_KEY_WORDS, KEY_PROTOCOL } from '../dataplane/flow-key.ts'

/** The top byte of a key's last word is its kind: a flow's key is 0 there everywhere else. */
export const flowOf = (key: Uint32Array): Uint32Array => {
  const flow = key.slice(0, FLOW_KEY_WORDS)
  flow[KEY_PROTOCOL] &= 0xffffff
  return flow
}

export const keyOf = (flow: Uint32Array, kind: number): Uint32Array => {
  const key = flow.slice(0, FLOW_KEY_WORDS)
  key[KEY_PROTOCOL] = ((key[KEY_PROTOCOL] & 0xffffff) | (kind << 24)) >>> 0
  return key
}

export const kindOf = (key: Uint32Array): number => key[KEY_PROTOCOL] >>> 24

export class DamPolicy {
  readonly #index: DirectoryIndex
  readonly #copies = new Map<string, number | null>()
  readonly #byAddress = new Map<number, string>()
  readonly #byName = new Map<string, number>()

  constructor(config: NodeConfig, directory: Directory) {
    this.#index = new DirectoryIndex(directory)
    for (const service of config.services) this.#copies.set(service.name, copiesOf(service))
    for (const { name, ipv4, leaving } of directory.hosts) {
      if (!leaving || !this.#byAddress.has(ipv4)) this.#byAddress.set(ipv4, name)
      this.#byName.set(name, ipv4)
    }
  }

  serviceAt(index: number): ServiceEntry | undefined {
    return this.#index.serviceAt(index)
  }

  /** Undefined: no service of now has its address. */
  serviceOf(key: Uint32Array): ServiceEntry | undefined {
    return this.#index.serviceOf(flowOf(key), 0)
  }

  /** Null: no atoms. */
  copies(service: ServiceEntry | undefined): number | null {
    return service === undefined ? null : this.copiesOfName(service.name)
  }

  copiesOfName(service: string): number | null {
    return this.#copies.get(service) ?? null
  }

  hostName(ipv4: number): string | undefined {
    return this.#byAddress.get(ipv4)
  }

  hostAddress(name: string): number | undefined {
    return this.#byName.get(name)
  }

  /** Whether atoms get other levels under this one. */
  differsFrom(other: DamPolicy): boolean {
    const names = new Set([...this.#copies.keys(), ...other.#copies.keys()])
    return [...names].some(name => this.#copies.get(name) !== other.#copies.get(name))
  }

  /** Whether services have atoms that had none before. */
  wantsMoreThan(other: DamPolicy): boolean {
    return [...this.#copies].some(
      ([name, copies]) => copies !== null && (other.#copies.get(name) ?? null) === null,
    )
  }
}
