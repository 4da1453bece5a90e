/** The worker's end of what passes between the packet path and the main thread about routes: between a forwarder and its classifier on another node. */
import { eachRoute } from './batch.ts'
import type { Engine } from './engine.ts'
import type { PostToMain, ToWorker } from './messages.ts'

export type RouteOrder = Extract<ToWorker, { readonly type: 'plumb' | 'unplumb' | 'ended' }>

export class RouteDesk {
  readonly #engine: () => Engine
  readonly #post: PostToMain
  readonly #key = new Uint32Array(10)

  constructor(engine: () => Engine, post: PostToMain) {
    this.#engine = engine
    this.#post = post
  }

  /** There is something for `turn` to send. */
  get isWaiting(): boolean {
    const { plumbs, ended } = this.#engine()
    if (ended.size > 0) return true
    for (const batch of plumbs.values()) if (batch.size > 0) return true
    return false
  }

  /** Every few milliseconds while it waits. */
  turn(): void {
    const { plumbs, ended } = this.#engine()
    for (const [forwarderIpv4, batch] of plumbs) {
      if (batch.size === 0) continue
      const words = batch.take()
      this.#post({ type: 'plumb', forwarderIpv4, words }, [words])
    }
    if (ended.size === 0) return
    const words = ended.take()
    this.#post({ type: 'ended', words }, [words])
  }

  take({ type, words }: RouteOrder, nowMs: number): void {
    const { forwarder, classifier } = this.#engine()
    const key = this.#key
    switch (type) {
      case 'plumb':
        return eachRoute(words, key, hostIpv4 => forwarder?.plumbed(key, hostIpv4, nowMs))
      case 'unplumb':
        return eachRoute(words, key, () => forwarder?.unplumbed(key, nowMs))
      case 'ended':
        return eachRoute(words, key, () => classifier?.ended(key))
    }
  }
}
