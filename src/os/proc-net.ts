/**
 * Sockets and addresses of another process's network namespace, from /proc/PID/net (proc_pid_net(5)): that takes no
 * privilege and moves no thread. It is dear, though: for its tables of TCP the kernel goes through the connections of all
 * namespaces, some milliseconds each. Whoever may enter the namespace asks sock-diag.ts.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { formatAddress } from './inet.ts'
import type { ListeningSocket } from './netlink/sock-diag.ts'
import { ESTABLISHED, isWaiting, LISTEN, parseTableLine, SOCKET_TABLES } from './socket-table.ts'

/** A process to ask, or this thread. */
export type ProcessName = number | 'thread-self'

const CHUNK_BYTES = 65_536
/** About 50,000 sockets; more of one namespace are not looked at. */
const MAX_TABLE_BYTES = 8 * 1024 * 1024
const MAX_ADDRESSES = 4_096

/** Passes the lines of a table on until `visit` answers false. A kernel without IPv6 has no such tables. */
const eachLine = (path: string, visit: (line: string) => boolean): void => {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return // no IPv6, or the process has ended
    throw error
  }
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES)
    let rest = ''
    for (let seen = 0; seen < MAX_TABLE_BYTES; ) {
      const bytes = readSync(fd, chunk, 0, chunk.length, null)
      if (bytes === 0) return
      seen += bytes
      const lines = (rest + chunk.toString('latin1', 0, bytes)).split('\n')
      rest = lines.pop()!
      for (const line of lines) if (!visit(line)) return
    }
  } finally {
    closeSync(fd)
  }
}

/**
 * Listening TCP and unconnected UDP sockets of a process's namespace; none once the process has ended. Accept queues are
 * told, their limits are not. Throws the system's error when /proc cannot be read.
 */
export const listListeningOf = (who: ProcessName): ListeningSocket[] => {
  const found: ListeningSocket[] = []
  for (const [table, protocol] of SOCKET_TABLES)
    eachLine(`/proc/${who}/net/${table}`, line => {
      const parsed = parseTableLine(line, protocol)
      if (parsed === null) return true
      if (isWaiting(parsed)) found.push(parsed.socket)
      // The kernel lists listening TCP sockets before all others.
      return protocol === 'udp' || parsed.state === LISTEN
    })
  return found
}

/** Adds the established TCP connections of a process's namespace to `counts`, by local end `address:port`. */
export const countEstablishedOf = (
  who: ProcessName,
  ports: ReadonlySet<number>,
  counts = new Map<string, number>(),
): Map<string, number> => {
  for (const table of ['tcp', 'tcp6'])
    eachLine(`/proc/${who}/net/${table}`, line => {
      const parsed = parseTableLine(line, 'tcp')
      if (parsed?.state !== ESTABLISHED || !ports.has(parsed.socket.port)) return true
      const end = `${parsed.socket.address}:${parsed.socket.port}`
      counts.set(end, (counts.get(end) ?? 0) + 1)
      return true
    })
  return counts
}

/** Addresses of a namespace: `fibTrie` is its net/fib_trie, `ifInet6` its net/if_inet6. Loopback is left out. */
export const parseLocalAddresses = (fibTrie: string, ifInet6: string): string[] => {
  const found = new Set<string>()
  // |-- 10.0.0.1
  //    /32 host LOCAL
  for (const match of fibTrie.matchAll(/\|-- (\d+\.\d+\.\d+\.\d+)\n\s+\/32 host LOCAL/g)) found.add(match[1]!)
  for (const match of ifInet6.matchAll(/^([\da-f]{32}) /gm))
    found.add(formatAddress(Buffer.from(match[1]!, 'hex')))
  return [...found]
    .filter(address => address !== '::1' && !address.startsWith('127.'))
    .slice(0, MAX_ADDRESSES)
}

/** Addresses that a process's namespace has, loopback left out; none once the process has ended. */
export const localAddressesOf = (pid: number): string[] => {
  const read = (name: string): string => {
    try {
      return readFileSync(`/proc/${pid}/net/${name}`, 'latin1')
    } catch {
      return '' // ended, or a kernel without IPv6
    }
  }
  return parseLocalAddresses(read('fib_trie'), read('if_inet6'))
}
