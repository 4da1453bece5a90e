import { OsError, ShuntError } from '../../errors.ts'
import { check, closeFd, errnoSymbol, libc, pinned, pointerOf } from '../ffi.ts'
import { SOCK_CLOEXEC, SOL_SOCKET, setBytes, setInt } from '../sockopt.ts'
import {
  type NetlinkMessage,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  readError,
  readMessages,
} from './codec.ts'

const AF_NETLINK = 16
const SOCK_RAW = 3
export const NETLINK_ROUTE = 0
export const NETLINK_NETFILTER = 12
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const SO_RCVTIMEO = 20
const MSG_TRUNC = 0x20
/** The kernel answers at once; this only keeps a lost reply from hanging the thread. */
const ANSWER_TIMEOUT_SECONDS = 5n
const RECEIVE_BYTES = 262144
const DUMP_TRIES = 8

/** Opens a netlink socket in the calling thread's network namespace; errors come capped, with a text. */
export const openNetlink = (protocol: number, flags: number): number => {
  const fd = check('socket(AF_NETLINK)', libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, protocol))
  try {
    setInt(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1, 'setsockopt(NETLINK_CAP_ACK)')
    setInt(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1, 'setsockopt(NETLINK_EXT_ACK)')
    return fd
  } catch (error) {
    libc.close(fd)
    throw error
  }
}

/**
 * What the kernel says, for the time of one request: all sockets of a thread have the same, since none asks while another waits. Made anew
 * for each socket it was most of what looking at counters cost.
 */
let received: Buffer | undefined

/** Asks the kernel one thing at a time, synchronously. */
export class NetlinkSocket {
  readonly fd: number
  #sequence = 0

  private constructor(fd: number) {
    this.fd = fd
  }

  static open(protocol: number): NetlinkSocket {
    const fd = openNetlink(protocol, 0)
    const timeout = pinned(16) // struct timeval
    timeout.writeBigInt64LE(ANSWER_TIMEOUT_SECONDS, 0)
    setBytes(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 'setsockopt(SO_RCVTIMEO)')
    return new NetlinkSocket(fd)
  }

  /**
   * Sends one message that asks for NLM_F_ACK or NLM_F_DUMP, and answers the replies. `what` names the request in
   * errors. Throws OsError with the kernel's own text; a dump that a change interrupted is asked for again.
   */
  request(what: string, message: Buffer): NetlinkMessage[] {
    for (let tries = 0; tries < DUMP_TRIES; tries++) {
      this.#sequence++
      message.writeUInt32LE(this.#sequence, 8)
      check(`send(${what})`, libc.send(this.fd, pointerOf(message), BigInt(message.length), 0))
      const replies = this.#gather(what)
      if (!replies.some(reply => (reply.flags & NLM_F_DUMP_INTR) !== 0)) return replies
    }
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `${what}: the kernel's tables changed during each of ${DUMP_TRIES} reads; retry`,
    )
  }

  close(): void {
    closeFd(this.fd)
  }

  #gather(what: string): NetlinkMessage[] {
    const replies: NetlinkMessage[] = []
    received ??= pinned(RECEIVE_BYTES)
    const buffer = received
    for (;;) {
      const bytes = check(
        `recv(${what})`,
        libc.recv(this.fd, pointerOf(buffer), BigInt(RECEIVE_BYTES), MSG_TRUNC),
      )
      if (bytes > RECEIVE_BYTES)
        throw new ShuntError('SHUNT_ERR_OS', `${what}: a reply of ${bytes} bytes is too long`)
      for (const message of readMessages(Buffer.from(buffer.subarray(0, bytes)))) {
        if (message.sequence !== this.#sequence) continue // left over from an earlier, failed request
        if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
          if (message.payload.length >= 4) failOnError(what, message)
          return replies
        }
        replies.push(message)
      }
    }
  }
}

/** NLMSG_DONE carries a number like NLMSG_ERROR, but no copy of the request. */
const failOnError = (what: string, message: NetlinkMessage): void => {
  const isError = message.type === NLMSG_ERROR
  const { errno, text } = isError ? readError(message) : { errno: -message.payload.readInt32LE(0), text: '' }
  if (errno !== 0) throw new OsError(what, errno, errnoSymbol(errno), text)
}
