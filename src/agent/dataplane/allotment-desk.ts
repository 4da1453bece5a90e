/** The worker's end of what the health and load handler allots to services: into force, answered when it is, and asked for when it is used up. */
import type { Engine } from './engine.ts'
import type { PostToMain, ToWorker } from './messages.ts'

export type AllotmentOrder = Extract<ToWorker, { readonly type: 'allotments' | 'leases' }>

export class AllotmentDesk {
  readonly #engine: () => Engine
  readonly #post: PostToMain
  /** Orders to be answered when they are in force. */
  #unanswered: number[] = []

  constructor(engine: () => Engine, post: PostToMain) {
    this.#engine = engine
    this.#post = post
  }

  take(message: AllotmentOrder, nowMs: number): void {
    const engine = this.#engine()
    if (message.type === 'leases') return engine.allotment.renew(message.leases)
    engine.allot(message.update, nowMs)
    this.#unanswered.push(message.id)
  }

  /** Each turn. Routes that no packet may follow any more are withdrawn some at a time. */
  turn(nowMs: number): void {
    const engine = this.#engine()
    const services = engine.allotment.takeWanted()
    if (services.length > 0) this.#post({ type: 'allotments-wanted', services })
    if (engine.isWithdrawing) engine.withdraw(nowMs)
    if (this.#unanswered.length === 0 || engine.isWithdrawing) return
    for (const id of this.#unanswered) this.#post({ type: 'answer', id, data: null })
    this.#unanswered = []
  }
}
