/** The worker's end of what passes between the packet path and the main thread about sessions: routes as atoms, and whose unknown flows are. */
import { ATOM_KIND } from '../../dam/types.ts'
import type { Engine } from './engine.ts'
import { KEY_PROTOCOL } from './flow-key.ts'
import { type PostToMain, RESOLVED_WORDS, type ToWorker } from './messages.ts'
import type { RecordQueue } from './record-queue.ts'

/** Messages 'atoms' that the main thread has not taken yet; beyond that they wait here, where their number is bounded. */
const MOST_UNDER_WAY = 8

export type SessionOrder = Extract<
  ToWorker,
  { readonly type: 'resolved' | 'claimed' | 'verified' | 'clients' | 'flows-all' | 'atoms-taken' }
>

export class SessionDesk {
  readonly #engine: () => Engine
  readonly #post: PostToMain
  readonly #key = new Uint32Array(10)
  #underWay = 0

  constructor(engine: () => Engine, post: PostToMain) {
    this.#engine = engine
    this.#post = post
  }

  /** There is something for `turn` to send. */
  get isWaiting(): boolean {
    const { forwarder, resolving, affinity, clients } = this.#engine()
    if (clients.questions.size > 0) return true
    if (this.#underWay < MOST_UNDER_WAY && affinity.queue.size > 0) return true
    if (forwarder === null) return false
    if (resolving !== null && resolving.questions.size > 0) return true
    if (forwarder.doubts.queue.size > 0) return true
    const { queue, isTelling } = forwarder.atoms
    return this.#underWay < MOST_UNDER_WAY && (queue.size > 0 || isTelling)
  }

  /** Every few milliseconds while it waits. */
  turn(): void {
    const { forwarder, resolving, affinity, clients } = this.#engine()
    this.#send(affinity.queue)
    this.#ask(clients.questions)
    if (forwarder === null) return
    if (resolving !== null) this.#ask(resolving.questions)
    const { atoms, doubts } = forwarder
    if (doubts.queue.size > 0) {
      const words = doubts.queue.take()
      this.#post({ type: 'verify', words }, [words])
    }
    if (this.#underWay < MOST_UNDER_WAY) {
      if (atoms.isTelling) atoms.step()
      this.#send(atoms.queue)
    }
    if (atoms.takeLost()) this.#post({ type: 'atoms-lost' })
  }

  #ask(questions: RecordQueue): void {
    if (questions.size === 0) return
    const words = questions.take()
    this.#post({ type: 'resolve', words }, [words])
  }

  #send(queue: RecordQueue): void {
    if (queue.size === 0 || this.#underWay >= MOST_UNDER_WAY) return
    const words = queue.take()
    this.#underWay++
    this.#post({ type: 'atoms', words }, [words])
  }

  take(message: SessionOrder, nowMs: number): void {
    const { forwarder, affinity, clients } = this.#engine()
    switch (message.type) {
      case 'resolved':
        return this.#each(message.words, (key, host, how) => {
          if (key[KEY_PROTOCOL] >>> 24 === ATOM_KIND.clientAddress) clients.answered(key, host, nowMs)
          else forwarder?.midFlow.resolved(key, host, how, nowMs)
        })
      case 'claimed':
        return this.#each(message.words, (key, host, how) =>
          forwarder?.midFlow.claimed(key, host, how, nowMs),
        )
      case 'verified':
        return this.#each(message.words, (key, host, how) =>
          forwarder?.doubts.answered(key, host, how, nowMs),
        )
      case 'clients':
        return this.#each(message.words, (key, host) => affinity.learnt(key, host))
      case 'flows-all':
        affinity.tellAll()
        if (message.begins) affinity.begin()
        return forwarder?.atoms.tellAll()
      case 'atoms-taken':
        this.#underWay -= message.messages
    }
  }

  #each(words: Uint32Array, use: (key: Uint32Array, host: number, how: number) => void): void {
    const key = this.#key
    for (let at = 0; at + RESOLVED_WORDS <= words.length; at += RESOLVED_WORDS) {
      key.set(words.subarray(at, at + 10))
      use(key, words[at + 10], words[at + 11])
    }
  }
}
