/** Nodes that know the network key and are no members: said in the log, however often they call. */
import type { Logger } from 'pino'

const EVERY_MS = 10_000

export class StrangerLog {
  readonly #log: Logger
  readonly #isStatic: boolean
  #loggedMs = Number.NEGATIVE_INFINITY

  /** `isStatic`: members are those that the configuration lists. */
  constructor(log: Logger, isStatic: boolean) {
    this.#log = log
    this.#isStatic = isStatic
  }

  add(id: string, address: string): void {
    const nowMs = performance.now()
    if (nowMs - this.#loggedMs < EVERY_MS) return
    this.#loggedMs = nowMs
    this.#log.warn(
      { id, address },
      this.#isStatic
        ? 'a node that knows the cluster secret is not configured here: list it in peers, or change the secret if it has left'
        : 'a node that knows the cluster secret is no member here; if it was not just admitted, change the secret with shunt keys rotate',
    )
  }
}
