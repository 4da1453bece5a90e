/** Answers load balancing units that ask whose connection a packet belongs to (R-G7): bounded work, whoever asks. Pure but for the look. */
import { RateByKey } from '../../gossip/rate-by-key.ts'
import { PATIENCE_MS } from './questions.ts'

/** Keys a second from one unit. */
const RATE = { ratePerS: 4_096, burst: 4_096 }
/** Keys that wait to be looked for. */
const MOST_QUEUED = 8_192

export interface AnswerPorts {
  nowMs(): number
  /** Calls back in another turn of the event loop. */
  soon(run: () => void): void
  /** Whether this host has the sockets. Rejects when the system does not tell. */
  look(keys: readonly Uint32Array[]): Promise<boolean[]>
  send(unit: string, id: number, owned: readonly boolean[]): void
}

interface Asked {
  readonly keys: readonly Uint32Array[]
  readonly atMs: number
  answer(owned: readonly boolean[] | null): void
}

export class OwnerAnswers {
  readonly counters = {
    asked: 0,
    keys: 0,
    mine: 0,
    /** Above a unit's rate, or while too many wait: no answer. */
    over_rate: 0,
    /** Nobody waits for the answer any more. */
    late: 0,
    failed: 0,
  }
  readonly #ports: AnswerPorts
  readonly #rates = new RateByKey(RATE)
  #queue: Asked[] = []
  #queued = 0
  #isAtWork = false
  #stopped = false

  constructor(ports: AnswerPorts) {
    this.#ports = ports
  }

  /** Answers by `send`, or not at all: a host that cannot look does not say "not mine". */
  asked(unit: string, id: number, keys: readonly Uint32Array[]): void {
    if (!this.#rates.take(unit, this.#ports.nowMs(), keys.length)) {
      this.counters.over_rate++
      return
    }
    this.own(keys, owned => {
      if (owned !== null) this.#ports.send(unit, id, owned)
    })
  }

  /** The same for this node itself; null: no answer. */
  own(keys: readonly Uint32Array[], answer: (owned: readonly boolean[] | null) => void): void {
    if (this.#queued + keys.length > MOST_QUEUED || this.#stopped) {
      this.counters.over_rate++
      answer(null)
      return
    }
    this.#queue.push({ keys, atMs: this.#ports.nowMs(), answer })
    this.#queued += keys.length
    if (this.#isAtWork) return
    this.#isAtWork = true
    this.#ports.soon(() => this.#work())
  }

  stop(): void {
    this.#stopped = true
    for (const { answer } of this.#queue.splice(0)) answer(null)
    this.#queued = 0
  }

  /** One question a turn: what it costs must not add up. */
  #work(): void {
    const next = this.#queue.shift()
    this.#isAtWork = this.#queue.length > 0
    if (this.#isAtWork) this.#ports.soon(() => this.#work())
    if (next === undefined) return
    this.#queued -= next.keys.length
    if (this.#ports.nowMs() - next.atMs > PATIENCE_MS) {
      this.counters.late++
      next.answer(null)
    } else void this.#look(next)
  }

  async #look({ keys, answer }: Asked): Promise<void> {
    this.counters.asked++
    this.counters.keys += keys.length
    try {
      const owned = await this.#ports.look(keys)
      this.counters.mine += owned.filter(Boolean).length
      answer(owned)
    } catch {
      this.counters.failed++
      answer(null)
    }
  }
}
