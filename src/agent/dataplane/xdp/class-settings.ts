import type { SequenceCounter } from '../flow-mapping.ts'
import type { DataplanePlan, MappingKey } from '../messages.ts'
import { CLASS_CONFIG, CLASS_KEY, CLASS_KEY_BYTES, EDGE_GLOBALS } from './layout/edge.ts'

/** Of bpf/class-maps.h. */
const KEYS = 4
const AT = EDGE_GLOBALS.classConfig.offset

const swap16 = (word: number): number => ((word & 0xff) << 8) | (word >>> 8)

/** `class_config` of edge.bpf.c: what programs need to speak for this forwarder, and the count of messages that they share with the agent. */
export class ClassSettings implements SequenceCounter {
  readonly #view: DataView
  readonly #words: BigUint64Array
  readonly #halves: Uint32Array

  /** The section `bss`, from its first byte on. */
  constructor(memory: Uint8Array<ArrayBuffer>) {
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength)
    this.#words = new BigUint64Array(memory.buffer, memory.byteOffset, Math.floor(memory.byteLength / 8))
    this.#halves = new Uint32Array(memory.buffer, memory.byteOffset, Math.floor(memory.byteLength / 4))
  }

  get last(): number {
    return Atomics.load(this.#halves, (AT + CLASS_CONFIG.sequence) / 4)
  }

  next(): number {
    return (Atomics.add(this.#halves, (AT + CLASS_CONFIG.sequence) / 4, 1) + 1) >>> 0
  }

  goOn(last: number): void {
    Atomics.store(this.#halves, (AT + CLASS_CONFIG.sequence) / 4, last)
  }

  get on(): boolean {
    return this.#view.getUint32(AT + CLASS_CONFIG.on, true) !== 0
  }

  off(): void {
    this.#set(CLASS_CONFIG.on, 0)
  }

  /** Everything that a plan says; in force when it returns. */
  apply(plan: DataplanePlan): void {
    this.off()
    const view = this.#view
    view.setUint32(AT + CLASS_CONFIG.own4, plan.clusterIpv4)
    view.setUint16(AT + CLASS_CONFIG.port, swap16(plan.mappingPort), true)
    plan.choiceKey.forEach((word, i) => {
      view.setUint32(AT + CLASS_CONFIG.choiceKey + 4 * i, word, true)
    })
    const answers = answerKeys(plan)
    for (let i = 0; i < KEYS; i++) this.#setKey(AT + CLASS_CONFIG.answers + i * CLASS_KEY_BYTES, answers[i])
    this.#set(CLASS_CONFIG.on, 1)
  }

  #setKey(at: number, key: MappingKey | undefined): void {
    const view = this.#view
    view.setUint32(at + CLASS_KEY.used, 0, true)
    if (key === undefined) return
    key.words.forEach((word, i) => {
      view.setUint32(at + CLASS_KEY.keyLow + 4 * i, word, true)
    })
    view.setUint32(at + CLASS_KEY.number, key.number, true)
    view.setUint32(at + CLASS_KEY.used, 1, true)
  }

  epoch(epoch: number): void {
    this.#set(CLASS_CONFIG.epoch, epoch)
  }

  tunnelYoung(may: boolean): void {
    this.#set(CLASS_CONFIG.tunnelYoung, may ? 1 : 0)
  }

  /** Of CLOCK_MONOTONIC, and how far the time of day is ahead of it (ns). */
  vouch(untilNs: bigint, wallNs: bigint): void {
    Atomics.store(this.#words, (AT + CLASS_CONFIG.wallNs) / 8, wallNs)
    Atomics.store(this.#words, (AT + CLASS_CONFIG.vouchedUntil) / 8, untilNs)
  }

  #set(place: number, value: number): void {
    this.#view.setUint32(AT + place, value, true)
  }
}

/** Of what hosts send to this forwarder; of two with one number the first, as the agent has it. */
const answerKeys = ({ forwarder, clusterIpv4, keys }: DataplanePlan): MappingKey[] => {
  const own = keys.filter(
    key => key.tunnelIpv4 === forwarder?.tunnelIpv4 && key.recipientIpv4 === clusterIpv4,
  )
  return own.filter((key, i) => own.findIndex(({ number }) => number === key.number) === i)
}
