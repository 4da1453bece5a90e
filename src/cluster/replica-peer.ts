/** What a replica keeps of one linked peer: when to tell it our list again, and how much work it may still cause. */

/** Tokens that fill up with time: `take` says whether there were enough. */
export class Allowance {
  readonly #burst: number
  readonly #perMs: number
  #left: number
  #atMs: number
  constructor(burst: number, perSecond: number, nowMs: number) {
    this.#burst = burst
    this.#perMs = perSecond / 1_000
    this.#left = burst
    this.#atMs = nowMs
  }
  take(amount: number, nowMs: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + Math.max(0, nowMs - this.#atMs) * this.#perMs)
    this.#atMs = nowMs
    if (this.#left < amount) return false
    this.#left -= amount
    return true
  }
}

export interface ReplicaSettings {
  /**
   * A differing digest must last so long before it is acted on: a publication is mostly still on its way. Longer in a large cluster,
   * where heartbeats take longer to tell what is new (replica.ts).
   */
  settleMs: number
  /** Least time between two lists to a peer; doubles up to `listMaxMs` while nothing changes. */
  listMinMs: number
  listMaxMs: number
  /** A statement is sent to a peer at most once in this time. */
  resendMs: number
  /** Bytes of statements sent to a peer at once, and in a second. */
  sendBurst: number
  sendPerSecond: number
  /** Lists and wants taken from a peer at once; one a second is given back. */
  askBurst: number
  /** Bad entries taken from a peer at once; one a second is given back. One more, and its entries are ignored for `ignoreMs`. */
  refusedBurst: number
  /**
   * Bytes of entries of no use (known already, superseded, of an unknown kind) taken from a peer at once, and in a second; beyond
   * them its entries are ignored for `ignoreMs`. More than an honest peer ever sends.
   */
  uselessBurst: number
  uselessPerSecond: number
  ignoreMs: number
}

export const REPLICA_DEFAULTS: ReplicaSettings = {
  settleMs: 250,
  listMinMs: 500,
  listMaxMs: 30_000,
  resendMs: 2_000,
  sendBurst: 8_388_608,
  sendPerSecond: 262_144,
  askBurst: 16,
  refusedBurst: 64,
  uselessBurst: 16_777_216,
  uselessPerSecond: 524_288,
  ignoreMs: 30_000,
}

/** Work that even the shortest entry makes, as bytes. */
const ENTRY_COST_BYTES = 256

export class ReplicaPeer {
  readonly #settings: ReplicaSettings
  readonly #bytes: Allowance
  readonly #asks: Allowance
  readonly #refusals: Allowance
  readonly #useless: Allowance
  #digest: bigint | null = null
  #dueMs = Number.POSITIVE_INFINITY
  #listedMs = Number.NEGATIVE_INFINITY
  #backOffMs: number
  #ignoredUntilMs = Number.NEGATIVE_INFINITY
  #sent = new Set<string>()
  #sentSinceMs: number

  constructor(settings: ReplicaSettings, nowMs: number) {
    this.#settings = settings
    this.#backOffMs = settings.listMinMs
    this.#sentSinceMs = nowMs
    this.#bytes = new Allowance(settings.sendBurst, settings.sendPerSecond, nowMs)
    this.#asks = new Allowance(settings.askBurst, 1, nowMs)
    this.#refusals = new Allowance(settings.refusedBurst, 1, nowMs)
    this.#useless = new Allowance(settings.uselessBurst, settings.uselessPerSecond, nowMs)
  }

  /** When our list is to be told to it again; infinite while it says that it holds the same. */
  get dueMs(): number {
    return this.#dueMs
  }

  heard(digest: bigint): void {
    if (digest !== this.#digest) this.#backOffMs = this.#settings.listMinMs
    this.#digest = digest
  }

  /** Our own set has changed: what failed before may work now. */
  changed(): void {
    this.#backOffMs = this.#settings.listMinMs
    this.#dueMs = Number.POSITIVE_INFINITY
  }

  /** Sets the next list to it, by whether its set has differed from ours for `settleMs`. `jitter`: 0 <= j < 1. */
  plan(ours: bigint, nowMs: number, jitter: number, settleMs: number): void {
    if (this.#digest === null || this.#digest === ours) this.#dueMs = Number.POSITIVE_INFINITY
    else if (this.#dueMs === Number.POSITIVE_INFINITY)
      this.#dueMs = Math.ceil(
        Math.max(nowMs + settleMs, this.#listedMs + this.#backOffMs) + jitter * settleMs,
      )
  }

  listed(nowMs: number): void {
    this.#listedMs = nowMs
    this.#dueMs = Number.POSITIVE_INFINITY
    this.#backOffMs = Math.min(this.#settings.listMaxMs, this.#backOffMs * 2)
  }

  mayAsk(nowMs: number): boolean {
    return this.#asks.take(1, nowMs)
  }

  isIgnored(nowMs: number): boolean {
    return nowMs < this.#ignoredUntilMs
  }

  /** True if it has now sent too many bad entries. */
  refuse(nowMs: number): boolean {
    if (this.#refusals.take(1, nowMs)) return false
    this.#ignoredUntilMs = nowMs + this.#settings.ignoreMs
    return true
  }

  /** An entry of no use. True if it has now sent too much of that. */
  useless(bytes: number, nowMs: number): boolean {
    if (this.#useless.take(ENTRY_COST_BYTES + bytes, nowMs)) return false
    this.#ignoredUntilMs = nowMs + this.#settings.ignoreMs
    return true
  }

  wasSent(hash: string, nowMs: number): boolean {
    if (nowMs - this.#sentSinceMs >= this.#settings.resendMs) {
      this.#sent = new Set()
      this.#sentSinceMs = nowMs
    }
    return this.#sent.has(hash)
  }

  /** Whether so many more bytes may go to it. */
  send(hash: string, bytes: number, nowMs: number): boolean {
    if (!this.#bytes.take(bytes, nowMs)) return false
    this.#sent.add(hash)
    return true
  }
}
