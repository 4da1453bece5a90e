import type { ServiceEntry } from '../directory.ts'

type Place = Pick<ServiceEntry, 'vipIpv4' | 'port' | 'protocol'>

/** Numbers of services in the kernel's tables: 1..65535, 0 being none, so one more than their indexes. */
export const numberOf = ({ index }: Pick<ServiceEntry, 'index'>): number => index + 1

const keyOf = ({ vipIpv4, port, protocol }: Place): string => `${vipIpv4} ${port} ${protocol}`

/** Services by number, and back. */
export class ServiceNumbers {
  #numbers = new Map<string, number>()
  #services = new Map<number, ServiceEntry>()

  /** 0: there is no such service. */
  of(place: Place): number {
    return this.#numbers.get(keyOf(place)) ?? 0
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
    this.#numbers = new Map(services.map(service => [keyOf(service), numberOf(service)]))
    this.#services = new Map(services.map(service => [numberOf(service), service]))
  }
}
