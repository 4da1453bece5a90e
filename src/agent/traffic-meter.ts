/** Reads what passed by service and by host once a second, for rates.ts. */
import type { Logger } from 'pino'
import type { Rates } from '../control/types.ts'
import { errorText } from '../errors.ts'
import { readCounters } from '../os/netlink/nftables-counters.ts'
import { readElementCounters } from '../os/netlink/nftables-element-counters.ts'
import { tableName } from './dataplane/nft/ruleset.ts'
import type { PacketSide } from './packet-side.ts'
import { TrafficRates } from './rates.ts'
import { type RuleTraffic, trafficCounts } from './traffic-counts.ts'

const EVERY_MS = 1_000

export class TrafficMeter {
  readonly #packets: PacketSide
  readonly #log: Logger
  readonly #rates = new TrafficRates()
  #timer: NodeJS.Timeout | null = null
  #isBusy = false
  #failed = ''

  constructor(packets: PacketSide, log: Logger) {
    this.#packets = packets
    this.#log = log
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.#sample(), EVERY_MS)
    this.#timer.unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  ofService(name: string): Rates | null {
    return this.#rates.of(`service ${name}`)
  }

  ofHost(name: string): Rates | null {
    return this.#rates.of(`host ${name}`)
  }

  async #sample(): Promise<void> {
    if (this.#isBusy) return
    this.#isBusy = true
    try {
      const { dataplane } = this.#packets
      const worker = await dataplane.status()
      const { directory, config } = this.#packets
      this.#rates.sample(
        performance.now(),
        trafficCounts(directory, worker, ruleTraffic(tableName(config.node.name))),
      )
      this.#failed = ''
    } catch (error) {
      // Rates are for looking at: whatever is wrong is told where it matters, and here once.
      const why = errorText(error)
      if (why !== this.#failed) this.#log.debug({ error: why }, 'traffic could not be read')
      this.#failed = why
    } finally {
      this.#isBusy = false
    }
  }
}

const ruleTraffic = (table: string): RuleTraffic => ({
  services: ['services', 'services6'].flatMap(set => readElementCounters(table, set)),
  hosts: ['address', 'address6'].flatMap(map => readElementCounters(table, map)),
  local: readCounters(table).local_hit ?? { packets: 0, bytes: 0 },
})
