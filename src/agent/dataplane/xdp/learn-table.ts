/** Which mapping datagrams the kernel may take in by itself: memory that bpf/learn.h reads (`learn_tunnels`, `learning`). */
import type { MappedArray } from '../../../os/bpf/mapped.ts'
import {
  ANSWERED,
  EDGE_GLOBALS,
  LEARN_CONFIG,
  LEARN_KEY,
  LEARN_KEY_BYTES,
  LEARN_TUNNEL,
} from './layout/edge.ts'

const ON = 1n << 40n
const GENERATION_SHIFT = 32n
/** LEARN_KEYS of bpf/learn.h. */
export const LEARN_KEYS = 4

/** ANSWER_PARTS of bpf/learn-answer.h, and how they are told apart there. */
const partOf = (identifier: number): number => Math.imul(identifier, 0x9e3779b1) >>> 24

export interface LearnKey {
  /** 0..255. */
  readonly number: number
  readonly words: Uint32Array
}

export interface LearnTunnel {
  /** 0..15. */
  readonly generation: number
  readonly epoch: number
  /** The forwarder's cluster address, four words. */
  readonly sender: Uint32Array
  /** Further ones than LEARN_KEYS are the agent's. */
  readonly keys: readonly LearnKey[]
  /** By which the kernel signs acknowledgements; null: it sends none. */
  readonly answer: LearnKey | null
}

export interface LearnSettings {
  readonly port: number
  readonly windowS: number
  /** This node's ends of the tunnels, four words each; null: none of that family. */
  readonly own4: Uint32Array | null
  readonly own6: Uint32Array | null
}

export class LearnTable {
  readonly #tunnels: MappedArray
  readonly #bss: MappedArray
  readonly #answered: MappedArray

  constructor(tunnels: MappedArray, bss: MappedArray, answered: MappedArray) {
    this.#tunnels = tunnels
    this.#bss = bss
    this.#answered = answered
  }

  /** Nothing is learnt for the tunnel until `set`. */
  clear(index: number): void {
    Atomics.store(this.#tunnels.words, this.#wordOf(index), 0n)
  }

  set(index: number, { generation, epoch, sender, keys, answer }: LearnTunnel): void {
    const { view, stride } = this.#tunnels
    const at = index * stride
    this.clear(index)
    for (let i = 0; i < 4; i++) view.setUint32(at + LEARN_TUNNEL.sender + 4 * i, sender[i])
    for (let i = 0; i < LEARN_KEYS; i++)
      setKey(view, at + LEARN_TUNNEL.keys + i * LEARN_KEY_BYTES, keys[i] ?? null)
    setKey(view, at + LEARN_TUNNEL.answerKeyLow, answer)
    const word = ON | (BigInt(generation) << GENERATION_SHIFT) | BigInt(epoch)
    // Last, and whole: from here on mappings are learnt.
    Atomics.store(this.#tunnels.words, this.#wordOf(index), word)
  }

  /**
   * Whether the kernel has acknowledged a newer message of the tunnel's epoch: of this identifier, or of one of the same part of them.
   * @param index of the tunnel
   */
  answeredNewer(index: number, epoch: number, identifier: number, sequence: number): boolean {
    const at = (index * this.#answered.stride + ANSWERED.words) / 8 + partOf(identifier)
    const word = Atomics.load(this.#answered.words, at)
    return Number(word >> 32n) === epoch && (Number(word & 0xffff_ffffn) - sequence) >> 0 > 0
  }

  configure({ port, windowS, own4, own6 }: LearnSettings): void {
    const { view } = this.#bss
    view.setUint16(this.#place(LEARN_CONFIG.port), port)
    view.setUint32(this.#place(LEARN_CONFIG.window), windowS, true)
    for (let i = 0; i < 4; i++) {
      view.setUint32(this.#place(LEARN_CONFIG.own4W) + 4 * i, own4?.[i] ?? 0)
      view.setUint32(this.#place(LEARN_CONFIG.own6W) + 4 * i, own6?.[i] ?? 0)
    }
  }

  /**
   * The agent lives: mappings are learnt for `graceMs` from now.
   * @param bootMs since the machine started, suspended or not
   * @param wallMs Unix time
   */
  renew(bootMs: number, wallMs: number, graceMs: number): void {
    this.#store(LEARN_CONFIG.unixNs, BigInt(Math.round((wallMs - bootMs) * 1e6)))
    this.#store(LEARN_CONFIG.until, BigInt(Math.round((bootMs + graceMs) * 1e6)))
  }

  /** Nothing is learnt until `renew`. */
  stop(): void {
    this.#store(LEARN_CONFIG.until, 0n)
  }

  /** Events that the ring had no room for. */
  get lost(): number {
    return Number(Atomics.load(this.#bss.words, this.#place(LEARN_CONFIG.lost) / 8))
  }

  #place(at: number): number {
    return EDGE_GLOBALS.learning.offset + at
  }

  #store(at: number, value: bigint): void {
    Atomics.store(this.#bss.words, this.#place(at) / 8, value)
  }

  #wordOf(index: number): number {
    return (index * this.#tunnels.stride + LEARN_TUNNEL.word) / 8
  }
}

const setKey = (view: DataView, at: number, key: LearnKey | null): void => {
  view.setUint32(at + LEARN_KEY.number, key === null ? 0 : key.number + 1, true)
  for (let i = 0; i < 4; i++) view.setUint32(at + LEARN_KEY.keyLow + 4 * i, key?.words[i] ?? 0, true)
}
