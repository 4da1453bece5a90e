/** Reads what passed by service and by host now and then, for rates.ts: each second while somebody looks, less often else. */
import type { Logger } from 'pino'
import type { Rates } from '../control/types.ts'
import { errorText } from '../errors.ts'
import { readCounters } from '../os/netlink/nftables-counters.ts'
import { readElementCounters } from '../os/netlink/nftables-element-counters.ts'
import { tableName } from './dataplane/nft/ruleset.ts'
import type { PacketSide } from './packet-side.ts'
import { RATE_WINDOW_MS, TrafficRates } from './rates.ts'
import { type RuleTraffic, trafficCounts } from './traffic-counts.ts'

const EVERY_MS = 1_000
/** While nobody looks: two samples are within the rates' window, also when a timer is late. */
const IDLE_EVERY_MS = RATE_WINDOW_MS / 2
/** Somebody who has looked may look again. */
const WATCHED_MS = 10_000
const NO_RULES: RuleTraffic = { services: [], hosts: [], local: { packets: 0, bytes: 0 } }

export class TrafficMeter {
  readonly #packets: PacketSide
  readonly #log: Logger
  readonly #rates = new TrafficRates()
  #timer: NodeJS.Timeout | null = null
  #isBusy = false
  #sampledMs = Number.NEGATIVE_INFINITY
  #askedMs = Number.NEGATIVE_INFINITY
  #failed = ''

  constructor(packets: PacketSide, log: Logger) {
    this.#packets = packets
    this.#log = log
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.#turn(performance.now()), EVERY_MS)
    this.#timer.unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  ofService(name: string): Rates | null {
    this.#askedMs = performance.now()
    return this.#rates.of(`service ${name}`)
  }

  ofHost(name: string): Rates | null {
    this.#askedMs = performance.now()
    return this.#rates.of(`host ${name}`)
  }

  async #turn(nowMs: number): Promise<void> {
    const isWatched = nowMs - this.#askedMs < WATCHED_MS
    // Half a turn before it is due is nearer to it than the next turn.
    if (this.#isBusy || (!isWatched && nowMs - this.#sampledMs < IDLE_EVERY_MS - EVERY_MS / 2)) return
    this.#sampledMs = nowMs
    await this.#sample()
  }

  async #sample(): Promise<void> {
    this.#isBusy = true
    try {
      const { dataplane } = this.#packets
      const worker = await dataplane.status()
      const { directory, config } = this.#packets
      // The sets that count are a forwarder's.
      const forwards = config.roles.includes('forwarder')
      const rules = forwards ? ruleTraffic(tableName(config.node.name)) : NO_RULES
      this.#rates.sample(performance.now(), trafficCounts(directory, worker, rules))
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
