/** What goes to one member: operations gather and leave as one batch, and what has been followed is known by numbers. */
import type { AtomOp, DamMessage } from './types.ts'

/** Numbers go on from 0 on the wire. */
const WIRE = 2 ** 32
/** Operations of one batch. */
const MOST_OPS = 512

export class Outbox {
  readonly #send: (message: DamMessage) => void
  #ops: AtomOp[] = []
  /** Of the newest batch, or question, that has left or gathers. */
  #sequence: number
  #followed = 0
  /** Batches may have been lost with a link: only what `same` says counts until one has. */
  #unsure = false

  /** @param first number; above 0 */
  constructor(send: (message: DamMessage) => void, first = 1) {
    this.#send = send
    this.#sequence = first
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
    this.#send({ type: 'batch', sequence: this.#sequence++ % WIRE, ops })
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

  /** @param sequence as on the wire: of the last ones that have left */
  #follow(sequence: number): void {
    const last = this.#sequence - 1
    const behind = (((last - sequence) % WIRE) + WIRE) % WIRE
    if (last - behind > this.#followed) this.#followed = last - behind
  }
}
