/** What goes to one member: operations gather and leave as one batch, and what has been followed is known by numbers. */
import type { AtomOp, DamMessage } from './types.ts'

/** Operations of one batch. */
const MOST_OPS = 512

export class Outbox {
  readonly #send: (message: DamMessage) => void
  #ops: AtomOp[] = []
  /** Of the newest batch, or question, that has left or gathers. */
  #sequence = 1
  #followed = 0
  /** Batches may have been lost with a link: only what `same` says counts until one has. */
  #unsure = false

  constructor(send: (message: DamMessage) => void) {
    this.#send = send
  }

  /** The number by which it will be known that it has been followed. */
  push(op: AtomOp): number {
    const sequence = this.#sequence
    this.#ops.push(op)
    if (this.#ops.length >= MOST_OPS) this.flush()
    return sequence
  }

  flush(): void {
    if (this.#ops.length === 0) return
    const ops = this.#ops
    this.#ops = []
    this.#send({ type: 'batch', sequence: this.#sequence++, ops })
  }

  /** A question that covers everything before it: its number. */
  mark(): number {
    this.flush()
    return this.#sequence++
  }

  send(message: DamMessage): void {
    // What it says may rest on what is before it.
    this.flush()
    this.#send(message)
  }

  /** The link went, or came: what was on its way may be lost. */
  lost(): void {
    this.#unsure = true
  }

  acknowledged(sequence: number): void {
    if (!this.#unsure) this.#follow(sequence)
  }

  same(sequence: number): void {
    this.#unsure = false
    this.#follow(sequence)
  }

  hasFollowed(sequence: number): boolean {
    return this.#followed >= sequence
  }

  #follow(sequence: number): void {
    if (sequence < this.#sequence && sequence > this.#followed) this.#followed = sequence
  }
}
