/** Callbacks of one kind of event. What they throw is their own: it must not tear a link down. */
import type { Logger } from 'pino'

export class Listeners<Words extends unknown[]> {
  readonly #log: Logger
  readonly #callbacks: ((...words: Words) => void)[] = []

  constructor(log: Logger) {
    this.#log = log
  }

  add(callback: (...words: Words) => void): void {
    this.#callbacks.push(callback)
  }

  tell(...words: Words): void {
    for (const callback of this.#callbacks) {
      try {
        callback(...words)
      } catch (error) {
        this.#log.error({ err: error }, 'a link callback failed')
      }
    }
  }
}
