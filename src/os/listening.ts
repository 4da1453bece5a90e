/** Sockets on which one process waits for clients, from what /proc says of that process alone (proc_pid_fd(5), proc_pid_net(5)). */
import { open, opendir, readFile, readlink } from 'node:fs/promises'
import { isWaiting, parseTableLine, SOCKET_TABLES } from './socket-table.ts'

export interface ListeningSocket {
  protocol: 'tcp' | 'udp'
  address: string
  port: number
}
export interface Listening {
  /** `null` when this process may not look: at another user's that takes CAP_SYS_PTRACE (proc_pid_fd(5)). */
  sockets: ListeningSocket[] | null
  /** There was more to read than one answer is worth. */
  truncated: boolean
  /** Whether it has the network namespace of this process. */
  sameNetwork: boolean
  /** Effective user id, now. */
  uid: number
}

/** A process may have a million descriptors: what the asker makes us read is bounded. */
const MAX_DESCRIPTORS = 4_096
const MAX_TABLE_BYTES = 512 * 1024
const MAX_SOCKETS = 256

/** Waiting sockets of a table such as /proc/net/tcp, by inode. Lines that are cut or strange are passed over. */
export const parseSocketTable = (text: string, protocol: 'tcp' | 'udp'): Map<string, ListeningSocket> => {
  const found = new Map<string, ListeningSocket>()
  for (const line of text.split('\n')) {
    const parsed = parseTableLine(line, protocol)
    if (parsed === null || !isWaiting(parsed)) continue
    const { address, port, inode } = parsed.socket
    found.set(String(inode), { protocol, address, port })
  }
  return found
}

/** Inodes of the sockets that a process holds. */
const socketInodes = async (pid: number): Promise<{ inodes: Set<string>; truncated: boolean }> => {
  const inodes = new Set<string>()
  let seen = 0
  for await (const entry of await opendir(`/proc/${pid}/fd`)) {
    if (++seen > MAX_DESCRIPTORS) return { inodes, truncated: true }
    // A descriptor may be closed meanwhile.
    const target = await readlink(`/proc/${pid}/fd/${entry.name}`).catch(() => '')
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
    if (inode !== undefined) inodes.add(inode)
  }
  return { inodes, truncated: false }
}

/** The kernel lists listening TCP sockets first, so a cut table loses none of them before the limit. */
const readTable = async (path: string): Promise<{ text: string; truncated: boolean }> => {
  const file = await open(path)
  try {
    let text = ''
    const chunk = Buffer.alloc(64 * 1024)
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, null)
      if (bytesRead === 0) return { text, truncated: false }
      text += chunk.toString('latin1', 0, bytesRead)
      if (text.length >= MAX_TABLE_BYTES) return { text, truncated: true }
    }
  } finally {
    await file.close()
  }
}

const effectiveUid = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'latin1')
  return Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN)
}

const look = async (pid: number): Promise<Omit<Listening, 'uid'>> => {
  const { inodes, truncated: manyDescriptors } = await socketInodes(pid)
  const sockets: ListeningSocket[] = []
  let truncated = manyDescriptors
  for (const [table, protocol] of SOCKET_TABLES) {
    if (inodes.size === 0) break
    const read = await readTable(`/proc/${pid}/net/${table}`).catch((error: NodeJS.ErrnoException) => {
      // A kernel without IPv6 has no such table.
      if (error.code === 'ENOENT' && table.endsWith('6')) return { text: '', truncated: false }
      throw error
    })
    truncated ||= read.truncated
    for (const [inode, socket] of parseSocketTable(read.text, protocol))
      if (inodes.has(inode)) sockets.push(socket)
  }
  const [theirs, ours] = await Promise.all([readlink(`/proc/${pid}/ns/net`), readlink('/proc/self/ns/net')])
  return {
    sockets: sockets.slice(0, MAX_SOCKETS),
    truncated: truncated || sockets.length > MAX_SOCKETS,
    sameNetwork: theirs === ours,
  }
}

/** Rejects with ENOENT or ESRCH when there is no such process. */
export const listeningOf = async (pid: number): Promise<Listening> => {
  const uid = await effectiveUid(pid)
  try {
    return { ...(await look(pid)), uid }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    return { sockets: null, truncated: false, sameNetwork: false, uid }
  }
}
