/** Numbers of a host's heartbeats, and what each says besides its token (R-B5, R-B7). */
import type { HeartbeatEntry } from '../types.ts'
import type { HostSettings } from './events.ts'

/** So many first heartbeats say hello: one may be lost with a leader. */
const HELLO_BEATS = 3
/** After the table's state changed, so many are to be passed on: only new tokens renew leases. */
const FORWARD_BEATS = 2

export class Beats {
  readonly #settings: HostSettings
  readonly #startMs: number
  #sent = 0
  #forwardUntil = 0

  /** Beat 1 is at `startMs`. */
  constructor(settings: HostSettings, startMs: number) {
    this.#settings = settings
    this.#startMs = startMs
  }

  /** The last one sent; 0: none. */
  get sent(): number {
    return this.#sent
  }

  /** When the next one is due. */
  get dueMs(): number {
    return this.#timeOf(this.#sent + 1)
  }

  /** A beat that was missed is not made up for. */
  current(nowMs: number): number {
    const beat = Math.floor((nowMs - this.#startMs) / this.#settings.beatMs) + 1
    // What the division rounded off must not put it before its own `dueMs`.
    return this.#timeOf(beat + 1) <= nowMs ? beat + 1 : beat
  }

  /** The last beat whose token is out, or that will never have one. */
  past(nowMs: number): number {
    return Math.max(this.#sent, this.current(nowMs) - 1)
  }

  /** The first beat not before now. A unit dates it at the time it asked, which must not be later than the beat. */
  next(nowMs: number): number {
    const beat = this.current(nowMs)
    return this.#timeOf(beat) >= nowMs ? beat : beat + 1
  }

  askForward(): void {
    this.#forwardUntil = this.#sent + FORWARD_BEATS
  }

  take(nowMs: number): number {
    this.#sent = this.current(nowMs)
    return this.#sent
  }

  /** The entry of the last beat taken. */
  entry(token: string): HeartbeatEntry {
    const { host, dnsName, dnsEvery, forwardEvery } = this.#settings
    const beat = this.#sent
    return {
      host,
      beat,
      token,
      hello: beat <= HELLO_BEATS,
      forward: beat % forwardEvery === 0 || beat <= this.#forwardUntil,
      dnsName: (beat - 1) % dnsEvery === 0 ? dnsName : '',
    }
  }

  #timeOf(beat: number): number {
    return this.#startMs + (beat - 1) * this.#settings.beatMs
  }
}
