import { AddressMap } from '../address-map.ts'
import type { ServiceEntry } from '../directory.ts'
import { KEY_PORTS, KEY_PROTOCOL, KEY_VIP } from '../flow-key.ts'

/** Numbers of services in the kernel's tables: 1..65535, 0 being none, so one more than their indexes. */
export const numberOf = ({ index }: Pick<ServiceEntry, 'index'>): number => index + 1

/** Services by number, and back. */
export class ServiceNumbers {
  /** By VIP, then by protocol and port. */
  #numbers = new AddressMap<Map<number, number>>()
  #services = new Map<number, ServiceEntry>()

  /** Of a flow key, from `at`; 0: there is no such service. */
  ofKey(key: Uint32Array, at: number): number {
    const place = key[at + KEY_PROTOCOL] * 65536 + (key[at + KEY_PORTS] & 0xffff)
    return this.#numbers.get(key, at + KEY_VIP)?.get(place) ?? 0
  }

  at(number: number): ServiceEntry | undefined {
    return this.#services.get(number)
  }

  get all(): IterableIterator<ServiceEntry> {
    return this.#services.values()
  }

  get numbers(): IterableIterator<number> {
    return this.#services.keys()
  }

  replace(services: readonly ServiceEntry[]): void {
    this.#numbers = new AddressMap()
    for (const service of services) {
      const places = this.#numbers.get(service.vip) ?? new Map<number, number>()
      places.set(service.protocol * 65536 + service.port, numberOf(service))
      this.#numbers.set(service.vip, 0, places)
    }
    this.#services = new Map(services.map(service => [numberOf(service), service]))
  }
}
