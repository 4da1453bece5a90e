/**
 * Asks the hosts of a service whose connection a mid-flow packet belongs to (R-G7, decision 6): all that live and could have it at once.
 * The hosts hold the sockets, so what one says of itself ends the question. Pure: effects through the ports.
 */
import { MAX_OWNER_KEYS } from '../../gossip/frame-format.ts'
import { ReservedRate } from '../../gossip/reserved-rate.ts'
import type { HostsToAsk } from './askable.ts'

/** A host that has not answered by then counts as silent. */
export const PATIENCE_MS = 300
/** Keys of one turn of the packet path go together. */
const GATHER_MS = 1
/** Keys that are being asked about; and of those whose flow has come but once. */
const MOST_WAITING = 4_096
const MOST_WAITING_ONCE = 3_072
/**
 * Keys a second to be asked about, each of all hosts of its service. A host answers a little more (answers.ts): beyond that it would be silent. Half
 * is for flows that came again: a client repeats its packet, most of a flood with made-up addresses does not.
 */
const RATE = {
  all: { ratePerS: 3_840, burst: 3_072 },
  reserved: { ratePerS: 1_920, burst: 1_024 },
} as const

/** What came of one key. */
export interface Ownership {
  /** Name of the host that has its socket; null: none said so. */
  readonly host: string | null
  /** Every host that could have it was asked and has answered. While one is silent nobody knows whether the connection lives. */
  readonly certain: boolean
}

export interface QuestionPorts {
  nowMs(): number
  /** Calls back in `ms`; answers how to call it off. */
  later(run: () => void, ms: number): () => void
  /** Hosts that could have connections of the service, this node's own name among them. */
  hosts(service: string): HostsToAsk
  /** Puts a question to a host, which answers by `answered`; false: it cannot be reached. */
  ask(host: string, id: number, keys: readonly Uint32Array[]): boolean
}

interface Waiting {
  readonly key: Uint32Array
  settle: ((ownership: Ownership) => void) | null
}

interface Question {
  readonly keys: readonly Waiting[]
  readonly open: Set<string>
  /** Keys that nobody has claimed. */
  left: number
  certain: boolean
  readonly callOff: () => void
}

export class OwnerQuestions {
  readonly counters = {
    questions: 0,
    keys: 0,
    owned: 0,
    /** All hosts have said that it is not theirs. */
    nobodys: 0,
    /** Some host was silent, and no other had it. */
    unknown: 0,
    /** Too many: of flows that came once, and of those that came again. */
    refused: 0,
    refused_again: 0,
    /** Late, of a host that was not asked, or of other keys. */
    unasked: 0,
    /** A second host claims the same. */
    contradicted: 0,
  }
  readonly #ports: QuestionPorts
  readonly #gathered = new Map<string, Waiting[]>()
  readonly #asked = new Map<number, Question>()
  readonly #rate: ReservedRate
  #waiting = 0
  #nextId = 1
  #callOff: (() => void) | null = null

  constructor(ports: QuestionPorts) {
    this.#ports = ports
    this.#rate = new ReservedRate(RATE, ports.nowMs())
  }

  /**
   * Names of the hosts that have the sockets of these flows (keys of ten words, of one service), null where none said so: see `ask` for
   * what that means. Resolves within 300 ms or so; never rejects.
   */
  async whoOwns(service: string, keys: readonly Uint32Array[]): Promise<(string | null)[]> {
    return (await this.ask(service, keys)).map(({ host }) => host)
  }

  /**
   * The same with how far it can be relied on that nobody has a socket.
   * @param again for each key whether packets of its flow have come again; left out: of none
   */
  ask(service: string, keys: readonly Uint32Array[], again?: readonly boolean[]): Promise<Ownership[]> {
    return Promise.all(keys.map((key, i) => this.#one(service, key, again?.[i] ?? false)))
  }

  /** A host's word; to be called also for this node's own. */
  answered(host: string, id: number, owned: readonly boolean[]): void {
    const question = this.#asked.get(id)
    if (question === undefined || owned.length !== question.keys.length || !question.open.delete(host)) {
      this.counters.unasked++
      return
    }
    question.keys.forEach((waiting, i) => {
      if (!owned[i]) return
      if (waiting.settle === null) this.counters.contradicted++
      else {
        question.left--
        this.counters.owned++
        this.#settle(waiting, { host, certain: true })
      }
    })
    if (question.open.size === 0 || question.left === 0) this.#end(id, question)
  }

  /** The same when a host cannot answer. */
  silent(host: string, id: number): void {
    const question = this.#asked.get(id)
    if (question === undefined || !question.open.delete(host)) return
    question.certain = false
    if (question.open.size === 0) this.#end(id, question)
  }

  /** Ends all that is being asked, with nothing known. */
  stop(): void {
    this.#callOff?.()
    for (const waiting of [...this.#gathered.values()].flat())
      this.#settle(waiting, { host: null, certain: false })
    this.#gathered.clear()
    for (const [id, question] of this.#asked) {
      question.certain = false
      this.#end(id, question)
    }
  }

  #one(service: string, key: Uint32Array, again: boolean): Promise<Ownership> {
    const isFull = this.#waiting >= (again ? MOST_WAITING : MOST_WAITING_ONCE)
    if (isFull || !this.#rate.take(again, this.#ports.nowMs())) {
      this.counters[again ? 'refused_again' : 'refused']++
      return Promise.resolve({ host: null, certain: false })
    }
    this.#waiting++
    this.counters.keys++
    return new Promise(resolve => {
      const waiting: Waiting = { key: key.slice(), settle: resolve }
      const gathered = this.#gathered.get(service)
      if (gathered === undefined) this.#gathered.set(service, [waiting])
      else gathered.push(waiting)
      this.#callOff ??= this.#ports.later(() => this.#askAll(), GATHER_MS)
    })
  }

  #askAll(): void {
    this.#callOff = null
    const all = [...this.#gathered]
    this.#gathered.clear()
    for (const [service, waiting] of all) {
      const hosts = this.#ports.hosts(service)
      for (let at = 0; at < waiting.length; at += MAX_OWNER_KEYS)
        this.#question(hosts, waiting.slice(at, at + MAX_OWNER_KEYS))
    }
  }

  #question({ live, silent }: ReturnType<QuestionPorts['hosts']>, keys: readonly Waiting[]): void {
    const id = this.#nextId
    this.#nextId = id === 0xffffffff ? 1 : id + 1
    this.counters.questions++
    const question: Question = {
      ...{ keys, open: new Set(live), left: keys.length, certain: silent === 0 },
      callOff: this.#ports.later(() => {
        question.certain = false
        this.#end(id, question)
      }, PATIENCE_MS),
    }
    this.#asked.set(id, question)
    const asked = keys.map(({ key }) => key)
    for (const host of live) if (!this.#ports.ask(host, id, asked)) this.silent(host, id)
    if (live.length === 0) this.#end(id, question)
  }

  #end(id: number, question: Question): void {
    if (!this.#asked.delete(id)) return
    question.callOff()
    const { certain } = question
    for (const waiting of question.keys) {
      if (waiting.settle === null) continue
      this.counters[certain ? 'nobodys' : 'unknown']++
      this.#settle(waiting, { host: null, certain })
    }
  }

  #settle(waiting: Waiting, ownership: Ownership): void {
    waiting.settle?.(ownership)
    waiting.settle = null
    this.#waiting--
  }
}
