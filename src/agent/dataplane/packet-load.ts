/** Whether more packets come than one connection alone sends: then a turn may wait for more of them, which else would keep a lone one's waiting. */
const WINDOW_MS = 2
const HEAVY_PACKETS = 24

export class PacketLoad {
  #packets = 0
  #windowMs = 0
  #heavyUntilMs = 0

  /** By the window before this one, as long as turns follow each other. */
  isHeavy(nowMs: number): boolean {
    return this.#heavyUntilMs > nowMs
  }

  /** Start of a turn. */
  turn(nowMs: number): void {
    const passedMs = nowMs - this.#windowMs
    if (passedMs < WINDOW_MS) return
    // A wait longer than the window ends the load as well.
    const isHeavy = this.#packets >= HEAVY_PACKETS && passedMs < 2 * WINDOW_MS
    this.#heavyUntilMs = isHeavy ? nowMs + 2 * WINDOW_MS : 0
    this.#windowMs = nowMs
    this.#packets = 0
  }

  /** So many packets came in this turn. */
  add(packets: number): void {
    this.#packets += packets
  }
}
