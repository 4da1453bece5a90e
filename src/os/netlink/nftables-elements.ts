import { closeFd, EAGAIN, EINTR, errno, errnoSymbol, libc, pinned, pointerOf } from '../ffi.ts'
import { SOCK_NONBLOCK, setReceiveBuffer, setSendBuffer } from '../sockopt.ts'
import { MessageWriter, NLM_F_REQUEST, NLMSG_ERROR, readError, readMessages } from './codec.ts'
import {
  NFNL_MSG_BATCH_BEGIN,
  NFNL_MSG_BATCH_END,
  NFNL_SUBSYS_NFTABLES,
  nfGenericHeader,
} from './nftables.ts'
import { type ElementChange, ElementLane } from './nftables-lane.ts'
import { NETLINK_NETFILTER, openNetlink } from './socket.ts'

/** A batch is one message to the kernel: this bounds it, at about a quarter of a million elements. */
const SEND_BYTES = 32 << 20
const ERRORS_BYTES = 4 << 20

export type CommitResult = { ok: true } | { ok: false; errno: number; symbol: string; text: string }

/** A change of one element of a set or map in a table of family netdev. */
export interface ElementAddition extends ElementChange {
  /** The value of a map's element, as the kernel stores it. */
  data?: Uint8Array
  /** Whole milliseconds from now, at least 1; the set needs the flag `timeout`. Without: the set's own, or never. */
  timeoutMs?: number
  /** Refuse (EEXIST) an element that is there already, instead of renewing its timeout. */
  exclusive?: boolean
}

/**
 * Adds and deletes elements of nf_tables sets in atomic batches, straight over netlink.
 *
 * Keys and data are the bytes of the kernel's registers: each field of a concatenation is padded to 4 bytes,
 * packet fields are in network order, `meta mark` in the machine's. Within one set the changes are carried out
 * in the order given; between sets all take effect together.
 */
export class SetElements {
  readonly #fd: number
  readonly #lanes = new Map<string, Map<string, ElementLane>>()
  readonly #used: ElementLane[] = []
  readonly #out = new MessageWriter(65536)
  readonly #errors = pinned(65536)
  readonly #errorsPointer = pointerOf(this.#errors)

  /** Opens a socket in the calling thread's network namespace. Throws OsError. */
  constructor() {
    this.#fd = openNetlink(NETLINK_NETFILTER, SOCK_NONBLOCK)
    setSendBuffer(this.#fd, SEND_BYTES)
    setReceiveBuffer(this.#fd, ERRORS_BYTES)
  }

  add(change: ElementAddition): void {
    this.#lane(change).add(change.key, change.data, change.timeoutMs, change.exclusive === true)
  }

  /** Deleting an element that is not there fails the whole batch (ENOENT). */
  delete(change: ElementChange): void {
    this.#lane(change).delete(change.key)
  }

  /**
   * Carries out all changes since the last commit, or none of them: on `ok: false` (the first error) nothing has
   * changed and the batch is forgotten; the caller may give its changes again one by one. Typical errors: EEXIST
   * (there already, with other data), ENOENT (no such element, set or table), ENFILE (the set is full), EINVAL
   * (key or data of a wrong length). An empty commit is ok.
   */
  commit(): CommitResult {
    if (this.#used.length === 0) return { ok: true }
    const out = this.#out
    out.reset()
    batchEdge(out, NFNL_MSG_BATCH_BEGIN)
    for (const lane of this.#used) lane.drainTo(out)
    this.#used.length = 0
    batchEdge(out, NFNL_MSG_BATCH_END)
    const bytes = out.bytes()
    for (;;) {
      if (libc.send(this.#fd, pointerOf(bytes), BigInt(bytes.length), 0) >= 0) break
      const number = errno()
      if (number !== EINTR) return failure(number, '')
    }
    return this.#firstError()
  }

  close(): void {
    closeFd(this.#fd)
  }

  /** The kernel works during send(): when it returns, each message that failed has left its error here. */
  #firstError(): CommitResult {
    let result: CommitResult = { ok: true }
    for (;;) {
      const count = libc.read(this.#fd, this.#errorsPointer, BigInt(this.#errors.length))
      if (count < 0) {
        const number = errno()
        if (number === EINTR) continue
        if (number === EAGAIN || !result.ok) return result
        return failure(number, '') // ENOBUFS: there were more errors than fit
      }
      for (const message of readMessages(this.#errors.subarray(0, count))) {
        if (message.type !== NLMSG_ERROR || !result.ok) continue
        const { errno: number, text } = readError(message)
        if (number !== 0) result = failure(number, text)
      }
    }
  }

  #lane(change: ElementChange): ElementLane {
    const sets = this.#lanes.get(change.table) ?? new Map<string, ElementLane>()
    if (sets.size === 0) this.#lanes.set(change.table, sets)
    const lane = sets.get(change.set) ?? new ElementLane(change.table, change.set)
    if (lane.isEmpty) {
      sets.set(change.set, lane)
      this.#used.push(lane)
    }
    return lane
  }
}

const failure = (number: number, text: string): CommitResult => ({
  ok: false,
  errno: number,
  symbol: errnoSymbol(number),
  text,
})

const batchEdge = (out: MessageWriter, type: number): void => {
  const at = out.beginMessage(type, NLM_F_REQUEST)
  out.raw(nfGenericHeader(0, NFNL_SUBSYS_NFTABLES))
  out.endMessage(at)
}
