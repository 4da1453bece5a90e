/**
 * What an agent writes down of the meaning of what it leaves in the kernel (R-G4): indexes of hosts, numbers of services, addresses, the
 * mark of restored frames. It stands in the state directory before anything goes by it.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { NodeConfig } from '../config/schema.ts'
import { errorText, ShuntError } from '../errors.ts'
import { currentNetnsInode } from '../os/netns.ts'
import type { Directory } from './dataplane/directory.ts'
import { formatAddress, parseAddress } from './dataplane/flow-key.ts'
import type { IndexBook } from './dataplane/index-book.ts'
import { tableName } from './dataplane/nft/ruleset.ts'

const FILE = 'dataplane.json'
const VERSION = 1

interface Books {
  /** By the text of its key: see below. */
  readonly held: Readonly<Record<string, number>>
  readonly book: IndexBook
}

export interface LeftBehind {
  /** Of the machine's start: what was in its kernel before is gone. */
  readonly boot: string
  readonly netns: number
  readonly node: string
  /** Those of IPv6 too; that of tunnels only of a forwarder. */
  readonly cluster: readonly string[]
  readonly tunnel: readonly string[] | null
  /** As rules write it; null: there was no XDP. */
  readonly mark: string | null
  /** `NAME ADDRESS ADDRESS6`, the last one empty if there is none. */
  readonly hosts: Books
  /** `VIP PROTOCOL PORT` */
  readonly services: Books
}

/** Names the state of one node on this machine: its name, for people, and its state directory, which no other has. */
export const stateOwner = ({ name, stateDir }: Pick<NodeConfig['node'], 'name' | 'stateDir'>): string => {
  const hash = createHash('sha256').update(realpathSync(stateDir)).digest('hex').slice(0, 12)
  return `${tableName(name).replace(/[^\w-]/g, '_')}-${hash}`
}

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()

const checksum = (body: unknown): string => createHash('sha256').update(JSON.stringify(body)).digest('hex')

const isBooks = (value: unknown): value is Books => {
  const { held, book } = (value ?? {}) as Partial<Books>
  return (
    typeof held === 'object' &&
    Object.values(held).every(Number.isInteger) &&
    Number.isInteger(book?.next) &&
    Array.isArray(book?.freed) &&
    book.freed.every(Number.isInteger)
  )
}

/**
 * What the agent before wrote, or null: there was none, or the machine has started since. Throws SHUNT_ERR_DATAPLANE for a damaged file:
 * what is in the kernel goes on as it is.
 */
export const readLeft = (stateDir: string): LeftBehind | null => {
  const path = join(stateDir, FILE)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  try {
    const { version, sum, body } = JSON.parse(text) as { version: unknown; sum: unknown; body: LeftBehind }
    // By another version that says other things: as if there was none.
    if (typeof version === 'number' && version !== VERSION) return null
    if (sum !== checksum(body)) throw new Error('its checksum is wrong')
    if (!isBooks(body.hosts) || !isBooks(body.services)) throw new Error('it has another form')
    return body.boot === bootId() && body.netns === currentNetnsInode() ? body : null
  } catch (cause) {
    throw new ShuntError(
      'SHUNT_ERR_DATAPLANE',
      `${path} should say what an earlier agent left in the kernel, but cannot be read (${errorText(cause)}). ` +
        'What is in the kernel goes on as it is; give it up with `shunt agent --flush`, then start the agent',
      { cause },
    )
  }
}

export const removeLeft = (stateDir: string): void => rmSync(join(stateDir, FILE), { force: true })

const PROTOCOLS: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp' }
const textOf = (words: Uint32Array | undefined): string =>
  words === undefined ? '' : formatAddress(words, 0)
const given = (...texts: (string | undefined)[]): string[] => texts.map(text => text ?? '')

const addressesOf = ({ addresses, roles }: NodeConfig): Pick<LeftBehind, 'cluster' | 'tunnel'> => ({
  cluster: given(addresses.cluster, addresses.cluster6),
  tunnel: roles.includes('forwarder') ? given(addresses.tunnel, addresses.tunnel6) : null,
})

export const leftBehind = (config: NodeConfig, directory: Directory, mark: string | null): LeftBehind => ({
  ...{ boot: bootId(), netns: currentNetnsInode(), node: config.node.name, mark },
  ...addressesOf(config),
  hosts: {
    held: Object.fromEntries(
      directory.hosts.map(({ name, words, words6, index }) => [
        `${name} ${textOf(words)} ${textOf(words6)}`,
        index,
      ]),
    ),
    book: directory.hostIndexes,
  },
  services: {
    held: Object.fromEntries(
      directory.services.map(({ vip, protocol, port, index }) => [
        `${textOf(vip)} ${PROTOCOLS[protocol]} ${port}`,
        index,
      ]),
    ),
    book: directory.serviceIndexes,
  },
})

/** Whole, then renamed: an agent that is killed here leaves the one before. */
export const saveLeft = (stateDir: string, body: LeftBehind): void => {
  const path = join(stateDir, FILE)
  const fd = openSync(`${path}.new`, 'w', 0o600)
  try {
    writeSync(fd, JSON.stringify({ version: VERSION, sum: checksum(body), body }))
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(`${path}.new`, path)
}

/** Whether what it says still holds for this configuration. The addresses are part of what is in the kernel. */
export const sameNode = (left: LeftBehind, config: NodeConfig): boolean => {
  const { cluster, tunnel } = addressesOf(config)
  return (
    String(left.cluster) === String(cluster) &&
    (left.tunnel === null || tunnel === null || String(left.tunnel) === String(tunnel))
  )
}

const words = (address: string): Uint32Array => {
  const out = new Uint32Array(4)
  if (!parseAddress(address, out, 0)) throw new RangeError(`${address} is no address`)
  return out
}

/** The directory before, as `buildDirectory` wants it: so that hosts and services keep their indexes. */
export const leftDirectory = ({ hosts, services, node }: LeftBehind): Directory => ({
  hosts: Object.entries(hosts.held).map(([key, index]) => {
    const [name, address, address6] = key.split(' ')
    const at = words(address)
    const self = name === node
    return {
      ...{ index, name, words: at, ipv4: at[3], self, hash: 0 },
      words6: address6 === '' ? undefined : words(address6),
      ...{ leaving: false, live: self, draining: false },
    }
  }),
  forwarders: [],
  classifiers: [],
  services: Object.entries(services.held).map(([key, index]) => {
    const [vip, protocol, port] = key.split(' ')
    return {
      ...{ index, name: key, vip: words(vip), port: Number(port), hosts: [] },
      protocol: protocol === 'udp' ? 17 : 6,
    }
  }),
  hostIndexes: hosts.book,
  serviceIndexes: services.book,
})
