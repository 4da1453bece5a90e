import { MessageWriter, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST } from './codec.ts'
import { NFPROTO, NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM, nfGenericHeader } from './nftables.ts'

// Attribute numbers of <linux/netfilter/nf_tables.h>
const LIST_TABLE = 1
const LIST_SET = 2
const LIST_ELEMENTS = 3
const LIST_ELEMENT = 1
const ELEMENT_KEY = 1
const ELEMENT_DATA = 2
const ELEMENT_TIMEOUT = 4
const DATA_VALUE = 1

/** The list's 16-bit length allows 64 kB; half leaves room for the largest element. */
const MESSAGE_BYTES = 32768

const ADD = NLM_F_REQUEST | NLM_F_CREATE

export interface ElementChange {
  table: string
  set: string
  key: Uint8Array
}

/** The messages of one batch that concern one set: neighbours of the same kind share a message. */
export class ElementLane {
  readonly #table: string
  readonly #set: string
  readonly #writer = new MessageWriter()
  #type = 0
  #flags = 0
  #message = -1
  #elements = 0

  constructor(table: string, set: string) {
    this.#table = table
    this.#set = set
  }

  get isEmpty(): boolean {
    return this.#writer.length === 0
  }

  add(
    key: Uint8Array,
    data: Uint8Array | undefined,
    timeoutMs: number | undefined,
    exclusive: boolean,
  ): void {
    this.#open(NFT_MSG_NEWSETELEM, exclusive ? ADD | NLM_F_EXCL : ADD)
    const writer = this.#writer
    const element = writer.beginNested(LIST_ELEMENT)
    this.#value(ELEMENT_KEY, key)
    if (data !== undefined) this.#value(ELEMENT_DATA, data)
    if (timeoutMs !== undefined) writer.u64be(ELEMENT_TIMEOUT, Math.max(1, Math.round(timeoutMs)))
    writer.endNested(element)
  }

  delete(key: Uint8Array): void {
    this.#open(NFT_MSG_DELSETELEM, NLM_F_REQUEST)
    const element = this.#writer.beginNested(LIST_ELEMENT)
    this.#value(ELEMENT_KEY, key)
    this.#writer.endNested(element)
  }

  /** Moves the lane's messages to a batch. */
  drainTo(out: MessageWriter): void {
    this.#close()
    out.raw(this.#writer.bytes())
    this.#writer.reset()
  }

  #value(type: number, value: Uint8Array): void {
    const at = this.#writer.beginNested(type)
    this.#writer.attribute(DATA_VALUE, value)
    this.#writer.endNested(at)
  }

  #open(type: number, flags: number): void {
    if (this.#message !== -1) {
      const isFull = this.#writer.length - this.#message > MESSAGE_BYTES
      if (type === this.#type && flags === this.#flags && !isFull) return
      this.#close()
    }
    this.#type = type
    this.#flags = flags
    this.#message = this.#writer.beginMessage(type, flags)
    this.#writer.raw(nfGenericHeader(NFPROTO.netdev))
    this.#writer.string(LIST_TABLE, this.#table)
    this.#writer.string(LIST_SET, this.#set)
    this.#elements = this.#writer.beginNested(LIST_ELEMENTS)
  }

  #close(): void {
    if (this.#message === -1) return
    this.#writer.endNested(this.#elements)
    this.#writer.endMessage(this.#message)
    this.#message = -1
  }
}
