/**
 * The set of all statements that a node holds. Sets that have seen the same statements hold the same ones, in whatever order
 * they came: what is superseded is a function of the set alone (precedence.ts), never of arrival or of a clock.
 *
 * Beyond the best of each place: a secret that excludes a node stays until the operator's removal of that node is here, and a
 * node's own leave counts only beside an admission of it, else strangers could fill the set with leaves of invented nodes.
 */
import { createHash } from 'node:crypto'
import { errorText } from '../errors.ts'
import { type Entry, inTellingOrder, KEPT_SECRETS, type Place, placeOf } from './precedence.ts'
import { decodeStatement, encodeStatement, signatureFault } from './statement.ts'
import type { Statement } from './types.ts'

/** Beyond it, statements that supersede no other are refused. */
export const MAX_STATEMENTS = 8_192
/** The same for statements that nodes sign: a node that misuses its tokens must not keep the operator from evicting it. */
export const MAX_NODE_STATEMENTS = 6_144

export type AddResult = 'new' | 'known' | 'stale' | { refused: string }

const removeKey = (id: string): string => `remove ${id}`

export class Ledger {
  readonly cluster: string
  readonly #entries = new Map<string, Entry>()
  /** Best first. */
  readonly #places = new Map<string, Entry[]>()
  /** Admissions held of each peer id. */
  readonly #admissions = new Map<string, number>()
  /** Secrets held that exclude a peer id. */
  readonly #excluded = new Map<string, number>()
  #digest: bigint | null = null
  #sorted: string[] | null = null

  /** `cluster`: the operator's public key, base64url. */
  constructor(cluster: string) {
    this.cluster = cluster
  }

  /** Takes a statement in, as addEncoded does. */
  add(statement: Statement): AddResult {
    try {
      return this.addEncoded(encodeStatement(statement))
    } catch (error) {
      return { refused: errorText(error) }
    }
  }

  /**
   * Takes an encoded statement in. 'stale': superseded by what is here (or a leave of a node that is not known yet), and not
   * kept. Only what would be kept is verified, since nothing else can do harm or is worth the work.
   * Throws SHUNT_ERR_STATEMENT, as decodeStatement does.
   */
  addEncoded(bytes: Uint8Array): AddResult {
    const hash = createHash('sha256').update(bytes).digest('hex')
    if (this.#entries.has(hash)) return 'known'
    return this.take({ hash, bytes, statement: decodeStatement(bytes) })
  }

  /** As addEncoded, of what is decoded already: `hash` and `bytes` belong to `statement`, which nobody changes. */
  take(entry: Entry): AddResult {
    const { statement } = entry
    const place = placeOf(statement)
    if (this.#entries.has(entry.hash)) return 'known'
    const { group, at } = this.#position(entry, place)
    if (at >= place.keep && !this.#isPinned(entry)) return 'stale'
    if (this.#isOrphan(entry)) return 'stale'
    const grows = at >= place.keep || group.length < place.keep
    const limit = statement.by === 'operator' ? MAX_STATEMENTS : MAX_NODE_STATEMENTS
    if (grows && this.#entries.size >= limit)
      return { refused: `${limit} statements are held already; the cluster's history is full` }
    const why = this.verify(entry)
    if (why !== undefined) return { refused: why }
    group.splice(at, 0, entry)
    this.#places.set(place.key, group)
    this.#count(entry, 1)
    this.#prune(place.key, place.keep)
    if (statement.body.kind === 'remove') this.#prune('secret', KEPT_SECRETS)
    return 'new'
  }

  get(hash: string): Statement | undefined {
    return this.#entries.get(hash)?.statement
  }

  /** Its encoding. */
  encoded(hash: string): Uint8Array | undefined {
    return this.#entries.get(hash)?.bytes
  }

  has(hash: string): boolean {
    return this.#entries.has(hash)
  }

  /** Sorted, hexadecimal. */
  hashes(): string[] {
    this.#sorted ??= [...this.#entries.keys()].sort()
    return this.#sorted.slice()
  }

  /** In the order in which they are to be added to another ledger (inTellingOrder). */
  statements(): Statement[] {
    return inTellingOrder(this.entries()).map(e => e.statement)
  }

  /** In order of their hashes. */
  entries(): Entry[] {
    return this.hashes().map(hash => this.#entries.get(hash)!)
  }

  /** Whether a peer id was evicted, has left, or is excluded by a secret: for ever. */
  removed(id: string): boolean {
    return this.#places.has(removeKey(id)) || this.#excluded.has(id)
  }

  /** First 64 bits, big-endian, of the SHA-256 over the sorted hashes. */
  digest(): bigint {
    if (this.#digest === null) {
      const sum = createHash('sha256')
      for (const hash of this.hashes()) sum.update(hash, 'hex')
      this.#digest = sum.digest().readBigUInt64BE(0)
    }
    return this.#digest
  }

  /** Why a statement is refused, or undefined. For tests that replace it. */
  protected verify(entry: Entry): string | undefined {
    return signatureFault(entry.statement, this.cluster)
  }

  #position(entry: Entry, place: Place): { group: Entry[]; at: number } {
    const group = this.#places.get(place.key) ?? []
    const worse = group.findIndex(other => place.order(entry, other) < 0)
    return { group, at: worse === -1 ? group.length : worse }
  }

  /** Beyond the secrets that are kept anyway: it excludes a node whose removal by the operator is not here. */
  #isPinned({ statement: { body } }: Entry): boolean {
    return body.kind === 'secret' && body.excludes.some(id => !this.#isEvicted(id))
  }

  #isEvicted(id: string): boolean {
    return this.#places.get(removeKey(id))?.[0]?.statement.by === 'operator'
  }

  #isOrphan({ statement: { body, by } }: Entry): boolean {
    return body.kind === 'remove' && by !== 'operator' && !this.#admissions.has(body.id)
  }

  #prune(key: string, keep: number): void {
    const group = this.#places.get(key) ?? []
    const kept = group.filter((entry, at) => (at < keep || this.#isPinned(entry)) && !this.#isOrphan(entry))
    const dropped = group.filter(entry => !kept.includes(entry))
    if (kept.length > 0) this.#places.set(key, kept)
    else this.#places.delete(key)
    for (const entry of dropped) this.#count(entry, -1)
    for (const { statement } of dropped)
      if (statement.body.kind === 'admit') this.#prune(removeKey(statement.body.node.id), 1)
  }

  #count(entry: Entry, by: 1 | -1): void {
    const { body } = entry.statement
    if (by === 1) this.#entries.set(entry.hash, entry)
    else this.#entries.delete(entry.hash)
    this.#digest = null
    this.#sorted = null
    if (body.kind === 'admit') tally(this.#admissions, body.node.id, by)
    else if (body.kind === 'secret') for (const id of new Set(body.excludes)) tally(this.#excluded, id, by)
  }
}

const tally = (counts: Map<string, number>, key: string, by: 1 | -1): void => {
  const count = (counts.get(key) ?? 0) + by
  if (count === 0) counts.delete(key)
  else counts.set(key, count)
}
