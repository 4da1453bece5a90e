/**
 * Replication of the ledger, as a pure core: new statements are published to all members at once; nodes whose digests differ
 * tell each other what they hold and send what is missing.
 *
 * Secrets go only over links, from one node to another, and after the removals that the sender knows: a publication is passed
 * on by nodes that may not know yet who was evicted, and a secret must never come to an evicted node.
 */
import { createHash } from 'node:crypto'
import { errorText } from '../errors.ts'
import { LIVENESS } from '../gossip/liveness.ts'
import { intervalOf, newsWithinMs } from '../gossip/pace.ts'
import type { Ledger } from './ledger.ts'
import { type Entry, inTellingOrder } from './precedence.ts'
import { REPLICA_DEFAULTS, ReplicaPeer, type ReplicaSettings } from './replica-peer.ts'
import { decodeStatement, encodeStatement, UNKNOWN_KIND } from './statement.ts'
import type { Statement } from './types.ts'

export type ReplicaFrame =
  | { type: 'ledger-list' | 'ledger-want'; hashes: string[] }
  | { type: 'ledger-entries'; entries: Uint8Array[] }

export type ReplicaEvent =
  | { on: 'up'; peer: string }
  | { on: 'down'; peer: string }
  /** From its heartbeat. */
  | { on: 'digest'; peer: string; digest: bigint }
  | { on: 'frame'; peer: string; frame: ReplicaFrame }
  /** By gossip; `peer` signed it. */
  | { on: 'published'; peer: string; entries: Uint8Array[] }
  /** The operator's or this node's own; compare-and-set has been checked. */
  | { on: 'submit'; statements: Statement[] }
  | { on: 'wake' }

export type ReplicaAction =
  | { do: 'send'; peer: string; frame: ReplicaFrame }
  | { do: 'publish'; entries: Uint8Array[] }
  /** Persist the ledger, and compute the view anew. */
  | { do: 'changed'; statements: Statement[] }
  /** `peer` is '' for what was submitted here; `count`: of statements. */
  | { do: 'refused'; peer: string; why: string; count: number }

export interface ReplicaStep {
  actions: ReplicaAction[]
  /** Infinite when nothing is due. */
  wakeAtMs: number
}

const MAX_HASHES = 8_192
/** Sum of the entries of a frame or a publication, each with four bytes before it; one of the greatest size fits. */
const MAX_BATCH_BYTES = 199_000
const MAX_BATCH_ENTRIES = 1_024

/** Of statements of a kind that this version does not know, so that each is read once. */
const MAX_UNKNOWN = 8_192

const TOO_USELESS = 'too many statements that are known already, superseded or of an unknown kind'

const batches = (entries: Uint8Array[]): Uint8Array[][] => {
  const all: Uint8Array[][] = []
  let room = 0
  for (const entry of entries) {
    if (entry.length + 4 > room || all.at(-1)!.length === MAX_BATCH_ENTRIES) {
      all.push([])
      room = MAX_BATCH_BYTES
    }
    all.at(-1)!.push(entry)
    room -= entry.length + 4
  }
  return all
}

export class Replica {
  readonly ledger: Ledger
  readonly #settings: ReplicaSettings
  readonly #peers = new Map<string, ReplicaPeer>()
  readonly #idOf: (peer: string) => string | undefined
  /** What those cost that publish without being linked. */
  readonly #unlinked: ReplicaPeer
  /** Hashes, oldest first. */
  readonly #unknown = new Set<string>()

  /**
   * `idOf`: the peer id of what events and actions call a peer, or undefined when that is no member; by default they are
   * peer ids. Nothing is told to, or taken from, nodes that the ledger knows as removed.
   */
  constructor(
    ledger: Ledger,
    settings: Partial<ReplicaSettings> = {},
    idOf: (peer: string) => string | undefined = peer => peer,
  ) {
    this.ledger = ledger
    this.#idOf = idOf
    this.#settings = { ...REPLICA_DEFAULTS, ...settings }
    this.#unlinked = new ReplicaPeer(this.#settings, 0)
  }

  /** `jitter`: 0 <= j < 1, random. Never throws for what a peer sent. */
  step(event: ReplicaEvent, nowMs: number, jitter: number): ReplicaStep {
    const actions: ReplicaAction[] = []
    this.#handle(event, nowMs, actions)
    const digest = this.ledger.digest()
    const settleMs = this.#settleMs()
    for (const [peer, state] of this.#peers) {
      if (state.dueMs <= nowMs) this.#list(peer, state, nowMs, actions)
      state.plan(digest, nowMs, jitter, settleMs)
    }
    const wakeAtMs = Math.min(Number.POSITIVE_INFINITY, ...[...this.#peers.values()].map(p => p.dueMs))
    return { actions, wakeAtMs }
  }

  /** A peer that has followed says so only within this time: sooner, a list to each would answer every change. */
  #settleMs(): number {
    const { heartbeatMs } = LIVENESS
    return Math.max(
      this.#settings.settleMs,
      newsWithinMs(intervalOf(this.#peers.size, heartbeatMs), heartbeatMs),
    )
  }

  #handle(event: ReplicaEvent, nowMs: number, actions: ReplicaAction[]): void {
    if (event.on === 'wake') return
    if (event.on === 'submit') return this.#submit(event.statements, nowMs, actions)
    const { peer } = event
    if (event.on === 'down' || this.#isRemoved(peer)) return void this.#peers.delete(peer)
    if (event.on === 'published') return this.#take(peer, event.entries, nowMs, actions)
    if (event.on === 'up') {
      const state = new ReplicaPeer(this.#settings, nowMs)
      this.#peers.set(peer, state)
      return this.#list(peer, state, nowMs, actions)
    }
    const state = this.#peers.get(peer)
    if (state === undefined) return
    if (event.on === 'digest') return state.heard(event.digest)
    const { frame } = event
    if (frame.type === 'ledger-entries') return this.#take(peer, frame.entries, nowMs, actions)
    if (!state.mayAsk(nowMs)) return
    const theirs = frame.hashes.slice(0, MAX_HASHES)
    if (frame.type === 'ledger-want') return this.#send(peer, state, theirs, nowMs, actions)
    const held = new Set(theirs)
    const lacking = this.ledger.hashes().filter(hash => !held.has(hash))
    this.#send(peer, state, lacking, nowMs, actions)
    const wanted = theirs.filter(hash => !this.ledger.has(hash) && !this.#unknown.has(hash))
    if (wanted.length > 0 && !state.isIgnored(nowMs))
      actions.push({ do: 'send', peer, frame: { type: 'ledger-want', hashes: wanted } })
  }

  #isRemoved(peer: string): boolean {
    const id = this.#idOf(peer)
    return id === undefined || this.ledger.removed(id)
  }

  #list(peer: string, state: ReplicaPeer, nowMs: number, actions: ReplicaAction[]): void {
    state.listed(nowMs)
    const hashes = this.ledger.hashes().slice(0, MAX_HASHES)
    actions.push({ do: 'send', peer, frame: { type: 'ledger-list', hashes } })
  }

  #send(peer: string, state: ReplicaPeer, hashes: string[], nowMs: number, actions: ReplicaAction[]): void {
    const wanted = [...new Set(hashes)]
      .filter(hash => !state.wasSent(hash, nowMs))
      .flatMap(hash => {
        const statement = this.ledger.get(hash)
        return statement === undefined ? [] : [{ hash, statement }]
      })
    const entries: Uint8Array[] = []
    for (const { hash } of inTellingOrder(wanted)) {
      const bytes = this.ledger.encoded(hash)!
      // Nothing after the first that does not fit: what must come before a secret must not be left out.
      if (!state.send(hash, bytes.length, nowMs)) break
      entries.push(bytes)
    }
    for (const batch of batches(entries))
      actions.push({ do: 'send', peer, frame: { type: 'ledger-entries', entries: batch } })
  }

  #take(peer: string, entries: Uint8Array[], nowMs: number, actions: ReplicaAction[]): void {
    const state = this.#peers.get(peer) ?? this.#unlinked
    if (state.isIgnored(nowMs)) return
    const faults: string[] = []
    const added: Statement[] = []
    for (const entry of inTellingOrder(this.#read(state, entries, faults, nowMs))) {
      if (state.isIgnored(nowMs)) break
      const result = this.ledger.take(entry)
      if (result === 'new') added.push(entry.statement)
      else if (typeof result === 'object') {
        faults.push(result.refused)
        state.refuse(nowMs)
      } else if (state.useless(entry.bytes.length, nowMs)) faults.push(TOO_USELESS)
    }
    if (faults.length > 0) {
      const more = faults.length === 1 ? '' : ` (and ${faults.length - 1} more)`
      const ignored = state.isIgnored(nowMs) ? '; its statements are ignored for a while' : ''
      actions.push({ do: 'refused', peer, why: `${faults[0]}${more}${ignored}`, count: faults.length })
    }
    this.#changed(added, actions)
  }

  /** Those that are new and can be read, until there are too many others. */
  #read(state: ReplicaPeer, entries: Uint8Array[], faults: string[], nowMs: number): Entry[] {
    const read: Entry[] = []
    for (const bytes of entries) {
      if (state.isIgnored(nowMs)) break
      const hash = createHash('sha256').update(bytes).digest('hex')
      try {
        if (!this.ledger.has(hash) && !this.#unknown.has(hash)) {
          read.push({ hash, bytes, statement: decodeStatement(bytes) })
          continue
        }
      } catch (error) {
        // A newer version may say what this one cannot read; that is no misbehaviour.
        if ((error as Error).cause !== UNKNOWN_KIND) {
          faults.push(errorText(error))
          state.refuse(nowMs)
          continue
        }
        this.#remember(hash)
      }
      if (state.useless(bytes.length, nowMs)) faults.push(TOO_USELESS)
    }
    return read
  }

  #remember(unknown: string): void {
    const [oldest] = this.#unknown
    if (this.#unknown.size >= MAX_UNKNOWN && oldest !== undefined) this.#unknown.delete(oldest)
    this.#unknown.add(unknown)
  }

  #submit(statements: Statement[], nowMs: number, actions: ReplicaAction[]): void {
    const added: Statement[] = []
    for (const statement of statements) {
      const result = this.ledger.add(statement)
      if (result === 'new') added.push(statement)
      else if (typeof result === 'object')
        actions.push({ do: 'refused', peer: '', why: result.refused, count: 1 })
    }
    const open = added.filter(s => s.body.kind !== 'secret').map(statement => ({ statement }))
    for (const entries of batches(inTellingOrder(open).map(({ statement }) => encodeStatement(statement))))
      actions.push({ do: 'publish', entries })
    this.#changed(added, actions)
    if (open.length === added.length) return
    for (const [peer, state] of this.#peers) this.#list(peer, state, nowMs, actions)
  }

  #changed(added: Statement[], actions: ReplicaAction[]): void {
    if (added.length === 0) return
    for (const [peer, state] of this.#peers) {
      if (this.#isRemoved(peer)) this.#peers.delete(peer)
      else state.changed()
    }
    actions.push({ do: 'changed', statements: added })
  }
}
