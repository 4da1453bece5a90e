/** Sockets of the calling thread's network namespace, as the kernel lists them (sock_diag(7), <linux/inet_diag.h>). */
import { OsError, ShuntError } from '../../errors.ts'
import { check, closeFd, errnoSymbol, libc, pinned, pointerOf } from '../ffi.ts'
import { formatAddress } from '../inet.ts'
import { openInNetns } from '../netns-visit.ts'
import { SOL_SOCKET, setBytes } from '../sockopt.ts'
import {
  MessageWriter,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  readAttributes,
  readError,
  readMessages,
} from './codec.ts'
import { AF_INET, AF_INET6 } from './rtnetlink.ts'
import { openNetlink } from './socket.ts'

const SO_RCVTIMEO = 20
const NETLINK_SOCK_DIAG = 4
const SOCK_DIAG_BY_FAMILY = 20
const INET_DIAG_SKV6ONLY = 11
const PROTOCOLS = { tcp: 6, udp: 17 }
/** Bits of include/net/tcp_states.h; an unconnected UDP socket is in TCP_CLOSE. */
const ESTABLISHED = 1 << 1
/** The client has said its last, and the application may still answer. */
const CLOSE_WAIT = 1 << 8
/** Half-open, and those that either side has closed: FIN_WAIT1, FIN_WAIT2, LAST_ACK, CLOSING. */
const ALIVE = ESTABLISHED | CLOSE_WAIT | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12)
const WAITING = { tcp: 1 << 10, udp: 1 << 7 }
// struct inet_diag_req_v2 { u8 family, protocol, ext, pad; u32 states; struct inet_diag_sockid id; }
const REQUEST_BYTES = 56
// struct inet_diag_msg { u8 family, state, timer, retrans; sockid { be16 sport, dport; be32 src[4], dst[4]; u32 if,
// cookie[2] }; u32 expires, rqueue, wqueue, uid, inode; }
const MESSAGE_BYTES = 72
const [PORT, SOURCE, RQUEUE, WQUEUE, UID, INODE] = [4, 8, 56, 60, 64, 68]
const RECEIVE_BYTES = 65_536
/** Local ends that are counted; a host that makes connections has as many local ends as those. */
const MAX_ENDS = 65_536

export interface ListeningSocket {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  readonly inode: number
  /** Effective user id of who made it. */
  readonly uid: number
  /** Connections in the accept queue; 0 for UDP. */
  readonly queue: number
  /** Limit of the accept queue (listen(2)); 0: not known, as for UDP and other namespaces. */
  readonly backlog: number
  /** Of an IPv6 wildcard: takes no IPv4 (ipv6(7), IPV6_V6ONLY). Other namespaces do not tell: false. */
  readonly v6only: boolean
}

const requestOf = (family: number, protocol: number, states: number): Buffer => {
  const writer = new MessageWriter(128)
  const at = writer.beginMessage(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP)
  const body = Buffer.alloc(REQUEST_BYTES)
  body.writeUInt8(family, 0)
  body.writeUInt8(protocol, 1)
  body.writeUInt32LE(states, 4)
  writer.raw(body)
  writer.endMessage(at)
  return writer.bytes()
}

/** IPv4 that an IPv6 socket speaks is told as IPv4 (RFC 4291, 2.5.5.2). */
const localAddress = (payload: Buffer): string => {
  if (payload[0] === AF_INET) return formatAddress(payload.subarray(SOURCE, SOURCE + 4))
  const bytes = payload.subarray(SOURCE, SOURCE + 16)
  const isMapped = bytes.readUIntBE(0, 6) === 0 && bytes.readUIntBE(6, 6) === 0xffff
  return formatAddress(isMapped ? bytes.subarray(12) : bytes)
}

/** One reply about a waiting socket. Throws ShuntError when it is too short. */
export const readListening = (payload: Buffer, protocol: 'tcp' | 'udp'): ListeningSocket => {
  if (payload.length < MESSAGE_BYTES)
    throw new ShuntError('SHUNT_ERR_OS', `malformed netlink socket: ${payload.length} bytes`)
  const isTcp = protocol === 'tcp'
  return {
    protocol,
    address: localAddress(payload),
    port: payload.readUInt16BE(PORT),
    inode: payload.readUInt32LE(INODE),
    uid: payload.readUInt32LE(UID),
    queue: isTcp ? payload.readUInt32LE(RQUEUE) : 0,
    backlog: isTcp ? payload.readUInt32LE(WQUEUE) : 0,
    v6only:
      payload[0] === AF_INET6 && readAttributes(payload, MESSAGE_BYTES).get(INET_DIAG_SKV6ONLY)?.[0] === 1,
  }
}

/** A socket for dumps, in the calling thread's namespace or in that at `netns`. */
const openDiag = (netns: string | undefined): number => {
  const open = (): number => openNetlink(NETLINK_SOCK_DIAG, 0)
  const fd = netns === undefined ? open() : openInNetns(netns, open)
  const timeout = pinned(16) // struct timeval: the kernel answers at once, but nothing may hang this thread
  timeout.writeBigInt64LE(5n, 0)
  setBytes(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 'setsockopt(SO_RCVTIMEO)')
  return fd
}

/** Of dumps that have ended, for the next: a look a few times a second must not make them anew. */
const spare: Buffer[] = []

/** Replies about all sockets of a kind, as many at a time as one receive brings: good until the next. Throws OsError. */
function* dump(fd: number, protocol: 'tcp' | 'udp', states: number): Generator<Buffer[], void> {
  const buffer = spare.pop() ?? pinned(RECEIVE_BYTES)
  try {
    yield* dumpInto(buffer, fd, protocol, states)
  } finally {
    spare.push(buffer)
  }
}

function* dumpInto(
  buffer: Buffer,
  fd: number,
  protocol: 'tcp' | 'udp',
  states: number,
): Generator<Buffer[], void> {
  for (const family of [AF_INET, AF_INET6]) {
    const request = requestOf(family, PROTOCOLS[protocol], states)
    check('send(list sockets)', libc.send(fd, pointerOf(request), BigInt(request.length), 0))
    for (let more = true; more; ) {
      const bytes = check('recv(list sockets)', libc.recv(fd, pointerOf(buffer), BigInt(RECEIVE_BYTES), 0))
      const payloads: Buffer[] = []
      for (const message of readMessages(buffer.subarray(0, bytes))) {
        if (message.type === SOCK_DIAG_BY_FAMILY) payloads.push(message.payload)
        else if (message.type === NLMSG_DONE) more = false
        else if (message.type === NLMSG_ERROR) {
          const { errno, text } = readError(message)
          throw new OsError(`list ${protocol} sockets`, errno, errnoSymbol(errno), text)
        }
      }
      yield payloads
    }
  }
}

const WAITING_PROTOCOLS = ['tcp', 'udp'] as const

/**
 * Listening TCP and unconnected UDP sockets, of this thread's network namespace or of that at a path such as
 * `/proc/<pid>/ns/net` (takes CAP_SYS_ADMIN, else OsError EPERM). The kernel goes through waiting sockets alone, however many
 * are connected. While others come and go it may leave one out or tell it twice: who concludes from an absence asks again.
 */
export const listListening = (netns?: string): ListeningSocket[] => {
  const fd = openDiag(netns)
  try {
    const found: ListeningSocket[] = []
    for (const protocol of WAITING_PROTOCOLS)
      for (const payloads of dump(fd, protocol, WAITING[protocol]))
        for (const payload of payloads) found.push(readListening(payload, protocol))
    return found
  } finally {
    closeFd(fd)
  }
}

/**
 * Counts established TCP connections by local end, `address:port`, in slices: `next` reads some hundred sockets. A host
 * may have a million, and nothing else runs meanwhile. `ports`: only these local ports. Throws OsError.
 */
export const countingEstablished = (ports?: ReadonlySet<number>): Generator<void, Map<string, number>> =>
  counting(ESTABLISHED, ports)

/** The same of all that an application has not closed, those that its client has half-closed too. */
export const countingOpen = (ports?: ReadonlySet<number>): Generator<void, Map<string, number>> =>
  counting(ESTABLISHED | CLOSE_WAIT, ports)

/** The same of all that still answer their peer: those too that an application has closed, with bytes to be sent. */
export const countingAlive = (ports?: ReadonlySet<number>): Generator<void, Map<string, number>> =>
  counting(ALIVE, ports)

function* counting(
  states: number,
  ports: ReadonlySet<number> | undefined,
): Generator<void, Map<string, number>> {
  const counts = new Map<string, number>()
  const fd = openDiag(undefined)
  try {
    for (const payloads of dump(fd, 'tcp', states)) {
      for (const payload of payloads) countOne(payload, ports, counts)
      yield
    }
  } finally {
    closeFd(fd)
  }
  return counts
}

const countOne = (
  payload: Buffer,
  ports: ReadonlySet<number> | undefined,
  counts: Map<string, number>,
): void => {
  if (payload.length < MESSAGE_BYTES) return
  const port = payload.readUInt16BE(PORT)
  if (ports !== undefined && !ports.has(port)) return
  const end = `${localAddress(payload)}:${port}`
  const before = counts.get(end)
  if (before !== undefined || counts.size < MAX_ENDS) counts.set(end, (before ?? 0) + 1)
}

/** The same at once. */
export const countEstablished = (ports?: ReadonlySet<number>): Map<string, number> => {
  const counting = countingEstablished(ports)
  for (;;) {
    const step = counting.next()
    if (step.done === true) return step.value
  }
}
