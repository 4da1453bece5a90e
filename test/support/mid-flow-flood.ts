/**
 * A forwarder that packets of unknown flows come to, with all of what finds their hosts, in virtual time: the packet path's part, the agent's, the
 * hosts'. No routes are atoms here, so each question goes to the hosts.
 */
import type { DamPolicy } from '../../src/agent/dam/policy.ts'
import { Resolver } from '../../src/agent/dam/resolver.ts'
import { ORIGIN } from '../../src/agent/dataplane/flows.ts'
import { RESOLVE_WORDS } from '../../src/agent/dataplane/messages.ts'
import { RecordQueue } from '../../src/agent/dataplane/record-queue.ts'
import { OwnerAnswers } from '../../src/agent/owners/answers.ts'
import { OwnerQuestions } from '../../src/agent/owners/questions.ts'
import { ATOM_KIND } from '../../src/dam/types.ts'
import { HOSTS, ip, tcp } from './cores.ts'
import { setUp } from './mid-flow-case.ts'
import { FLAG } from './packets.ts'
import { random } from './sim-cluster.ts'

const NETWORK_MS = 1
const CLIENTS = 0x0a140000

export interface Real {
  /** Number of its client and port. */
  readonly client: number
  readonly host: string
  sent: number
  /** Packets that its client had sent when its host was found; 0: it is not. */
  foundAfter: number
}

interface Timer {
  readonly atMs: number
  readonly order: number
  run: (() => void) | null
}

export class MidFlowFlood {
  nowMs = 0
  forged = 0
  readonly real: Real[] = []
  readonly t: ReturnType<typeof setUp>
  readonly questions: OwnerQuestions
  readonly answers: OwnerAnswers[] = []
  readonly resolver: Resolver
  readonly #records: RecordQueue
  readonly #timers: Timer[] = []
  readonly #packet = tcp(FLAG.ACK)
  readonly #arriving: number[] = []
  readonly #random = random(1)
  #order = 0

  /** @param places `limits.heldPackets` of the agent. @param tells the packet path says which flows have come again */
  constructor(places: number, tells = true) {
    this.#records = new RecordQueue(RESOLVE_WORDS, places)
    this.t = setUp({
      ...{ places, copies: null, room: 2_048 },
      onAsk: (key, service, again) =>
        this.#records.add(key, 0, ATOM_KIND.flow, service, again && tells ? 1 : 0),
    })
    const hosts = HOSTS.map((_, i) => `h${i + 1}`)
    this.questions = new OwnerQuestions({
      nowMs: () => this.nowMs,
      later: (run, ms) => this.after(ms, run),
      hosts: () => ({ live: hosts, silent: 0 }),
      ask: (host, id, keys) => {
        this.after(NETWORK_MS, () => this.answers[hosts.indexOf(host)]!.asked('f1', id, keys))
        return true
      },
    })
    for (const host of hosts)
      this.answers.push(
        new OwnerAnswers({
          nowMs: () => this.nowMs,
          soon: run => this.after(0, run),
          look: async keys => keys.map(key => this.#realOf(key)?.host === host),
          send: (_unit, id, owned) => this.after(NETWORK_MS, () => this.questions.answered(host, id, owned)),
        }),
      )
    this.resolver = new Resolver({
      policy: () =>
        ({
          serviceAt: (index: number) => this.t.index.serviceAt(index),
          copies: () => null,
          hostAddress: (name: string) => ip(HOSTS[hosts.indexOf(name)]!),
        }) as unknown as DamPolicy,
      query: () => {},
      isOwn: () => false,
      hasHeard: () => true,
      owners: () => this.questions,
      answer: records =>
        void this.after(0, () => {
          for (const { flow, host, how } of records) this.t.core.midFlow.resolved(flow, host, how, this.nowMs)
        }),
    })
  }

  after(ms: number, run: () => void): () => void {
    const timer: Timer = { atMs: this.nowMs + ms, order: this.#order++, run }
    this.#timers.push(timer)
    return () => {
      timer.run = null
    }
  }

  /** A packet of client number `client`, from the middle of its flow. */
  packet(client: number): void {
    const { buf, offset } = this.#packet
    new DataView(buf.buffer, buf.byteOffset).setUint32(offset + 12, CLIENTS + client)
    this.t.core.packet(this.#packet, this.nowMs)
  }

  /** A connection that comes here from now on: its client repeats its packet after so many ms, until it gets through. */
  connection(client: number, host: string, repeatsMs: readonly number[]): void {
    const flow: Real = { client, host, sent: 0, foundAfter: 0 }
    this.real.push(flow)
    for (const ms of [0, ...repeatsMs])
      this.after(ms, () => {
        if (flow.foundAfter > 0) return
        flow.sent++
        this.#arriving.push(client)
      })
  }

  /** @param forged packets of as many flows that are none, each ms */
  async run(ms: number, forged: number): Promise<void> {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs++
      this.#arrive(forged)
      if (this.nowMs % 10 === 0) this.t.core.tick(this.nowMs)
      await this.#turn()
      this.t.take()
      for (const flow of this.real)
        if (flow.foundAfter === 0 && this.#hostOf(flow) === flow.host) flow.foundAfter = flow.sent
    }
  }

  /** What came in this ms, true ones at any place among forged ones. */
  #arrive(forged: number): void {
    const packets = Array.from({ length: forged }, () => 0x100000 + (this.forged++ % 0xe00000))
    for (const client of this.#arriving.splice(0))
      packets.splice(Math.floor(this.#random() * (packets.length + 1)), 0, client)
    for (const client of packets) this.packet(client)
  }

  async #turn(): Promise<void> {
    if (this.#records.size > 0) this.resolver.resolve(this.#records.take())
    for (let isBusy = true; isBusy; ) {
      const due = this.#timers.filter(({ atMs }) => atMs <= this.nowMs)
      isBusy = due.length > 0
      const left = this.#timers.filter(({ atMs }) => atMs > this.nowMs)
      this.#timers.splice(0, this.#timers.length, ...left)
      for (const { run } of due.sort((a, b) => a.atMs - b.atMs || a.order - b.order)) run?.()
      // What is promised comes in this turn.
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  #realOf(key: Uint32Array): Real | undefined {
    return this.real.find(({ client }) => key[3] === CLIENTS + client)
  }

  /** Null: the forwarder does not know it. */
  #hostOf({ client }: Real): string | null {
    const { flows } = this.t
    const key = Uint32Array.of(0, 0, 0xffff, CLIENTS + client, 0, 0, 0xffff, ip('10.99.0.1'), 0x9c400050, 6)
    const slot = flows.table.find(key)
    return slot >= 0 && flows.origin[slot] === ORIGIN.HOST ? `h${flows.host[slot]}` : null
  }
}
