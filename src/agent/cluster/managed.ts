/**
 * The shell of a managed cluster on one node: the ledger and its file, the replica wired to the links, and the situation
 * that follows from them. Everything it decides is in pure modules.
 */
import type { Logger } from 'pino'
import { Ledger } from '../../cluster/ledger.ts'
import { Replica, type ReplicaAction, type ReplicaEvent } from '../../cluster/replica.ts'
import { statementHash } from '../../cluster/statement.ts'
import { loadCluster, saveCluster } from '../../cluster/store.ts'
import type { ClusterView, Statement } from '../../cluster/types.ts'
import { clusterView } from '../../cluster/view.ts'
import type { NodeFile } from '../../config/schema.ts'
import { errorText, ShuntError } from '../../errors.ts'
import { Alarm } from '../../gossip/alarm.ts'
import {
  decodeFrame,
  encodeLedgerEntries,
  encodeLedgerList,
  encodeLedgerWant,
  LENGTH_BYTES,
} from '../../gossip/frames.ts'
import type { PeerLinks } from '../../gossip/links.ts'
import type { EventLog } from '../events.ts'
import { type Situation, Situations } from './situation.ts'
import { checkSubmit } from './submit-check.ts'
import { viewEvents } from './view-events.ts'

export interface ManagedParts {
  readonly file: NodeFile
  readonly ownId: string
  readonly log: Logger
  readonly events: EventLog
}

export class Managed {
  readonly ledger: Ledger
  readonly #parts: ManagedParts
  readonly #replica: Replica
  readonly #situations: Situations
  readonly #replicaAlarm = new Alarm(() => this.#drive({ on: 'wake' }))
  readonly #situationAlarm = new Alarm(() => this.#refresh())
  readonly #listeners: ((situation: Situation) => void)[] = []
  #links: PeerLinks | null = null
  #view: ClusterView
  #situation: Situation
  #waiting = false
  #stopped = false

  /** @throws ShuntError SHUNT_ERR_STATE when this node is in no cluster, or no longer */
  constructor(parts: ManagedParts) {
    const { stateDir } = parts.file.node
    const saved = loadCluster(stateDir)
    if (saved === null)
      throw new ShuntError(
        'SHUNT_ERR_STATE',
        `this node is in no cluster (nothing in ${stateDir}); begin one with shunt init, or join one with shunt join TOKEN`,
      )
    this.#parts = parts
    this.ledger = new Ledger(saved.cluster)
    for (const statement of saved.statements) {
      const result = this.ledger.add(statement)
      if (typeof result === 'object')
        throw new ShuntError(
          'SHUNT_ERR_STATE',
          `the saved state in ${stateDir} holds a statement that is not valid (${result.refused}); restore a backup with shunt restore`,
        )
    }
    const view = clusterView(this.ledger)
    if (view === null)
      throw new ShuntError(
        'SHUNT_ERR_STATE',
        `the saved state in ${stateDir} is not complete; restore a backup with shunt restore`,
      )
    this.#view = view
    this.#checkMembership(view)
    // Members are known by their ids: names can change hands, and who is removed must not be told a new secret.
    this.#replica = new Replica(this.ledger, {}, name => this.#view.members.find(m => m.name === name)?.id)
    this.#situations = new Situations(parts.file, parts.ownId)
    this.#situation = this.#step()
  }

  get view(): ClusterView {
    return this.#view
  }
  get situation(): Situation {
    return this.#situation
  }

  /** Why this node is no member, or undefined. */
  expelled(): string | undefined {
    const { ownId } = this.#parts
    const view = this.#view
    const gone = view.departed.find(({ id }) => id === ownId)
    if (gone?.reason === 'left') return 'this node has left the cluster; join again with shunt join TOKEN'
    if (gone !== undefined)
      return 'this node was evicted from the cluster; ask the operator for a token and join again'
    const clash = view.conflicts.find(({ id }) => id === ownId)
    if (clash !== undefined)
      return `this node is no member: ${clash.why}; join again under another name or address`
    return view.members.some(({ id }) => id === ownId)
      ? undefined
      : 'the saved state does not know this node; was its identity file replaced? restore it from a backup, or join again'
  }

  #checkMembership(view: ClusterView): void {
    const why = this.expelled()
    if (why !== undefined) throw new ShuntError('SHUNT_ERR_STATE', why)
    const self = view.members.find(({ id }) => id === this.#parts.ownId)!
    const { node, addresses } = this.#parts.file
    const says = (what: string, here: string | undefined, there: string | undefined): void => {
      if (here !== there)
        throw new ShuntError(
          'SHUNT_ERR_CONFIG',
          `${what} is ${here ?? 'not set'} in the node file, but the cluster knows this node with ${there ?? 'none'}; correct the node file, or leave and join again`,
        )
    }
    says('node.name', node.name, self.name)
    says('addresses.cluster', addresses.cluster, self.address)
    says('addresses.tunnel', addresses.tunnel, self.tunnel)
  }

  onSituation(listener: (situation: Situation) => void): void {
    this.#listeners.push(listener)
  }

  /** Wires the replica to the links; call once, before they start. */
  attach(links: PeerLinks): void {
    this.#links = links
    links.onChange(peer => {
      this.#drive({ on: peer.state === 'alive' ? 'up' : 'down', peer: peer.name })
      if (this.#waiting) this.#refresh()
    })
    links.onDigest((peer, digest) => {
      this.#drive({ on: 'digest', peer, digest })
      if (this.#waiting) this.#refresh()
    })
    links.onFrame((peer, frame) => {
      if (frame.type === 'ledger-list' || frame.type === 'ledger-want' || frame.type === 'ledger-entries')
        this.#drive({ on: 'frame', peer, frame })
    })
    links.onPublished((peer, payload) => {
      const frame = decoded(payload)
      if (frame?.type === 'ledger-entries') this.#drive({ on: 'published', peer, entries: frame.entries })
      else this.#refused(peer, 'what it published is not a list of statements')
    })
  }

  stop(): void {
    this.#stopped = true
    this.#replicaAlarm.stop()
    this.#situationAlarm.stop()
  }

  /** Takes statements, all or none. @throws as checkSubmit does */
  submit(statements: readonly Statement[]): { accepted: number; known: number } {
    const fresh = statements.filter(statement => !this.ledger.has(statementHash(statement)))
    checkSubmit(this.#view, statements, statement => !fresh.includes(statement))
    if (fresh.length > 0) this.#drive({ on: 'submit', statements: fresh })
    return { accepted: fresh.length, known: statements.length - fresh.length }
  }

  /** Whether a member has in force what this node holds. */
  isSynced(name: string): boolean {
    const digest = this.ledger.digest()
    return this.#links?.states().find(peer => peer.name === name)?.digest === digest
  }

  #drive(event: ReplicaEvent): void {
    if (this.#stopped) return
    const { actions, wakeAtMs } = this.#replica.step(event, performance.now(), Math.random())
    for (const action of actions) this.#act(action)
    this.#replicaAlarm.notAfter(wakeAtMs)
  }

  #act(action: ReplicaAction): void {
    switch (action.do) {
      case 'send': {
        const { frame } = action
        const bytes =
          frame.type === 'ledger-entries'
            ? encodeLedgerEntries(frame.entries)
            : frame.type === 'ledger-list'
              ? encodeLedgerList(frame.hashes)
              : encodeLedgerWant(frame.hashes)
        this.#links?.send(action.peer, bytes)
        return
      }
      case 'publish':
        this.#links?.publish(encodeLedgerEntries(action.entries).subarray(LENGTH_BYTES))
        return
      case 'refused':
        return this.#refused(action.peer, action.why)
      case 'changed':
        return this.#changed()
    }
  }

  #refused(peer: string, why: string): void {
    this.#parts.events.add(
      'statement.refused',
      'warning',
      peer,
      `a statement from ${peer} was refused: ${why}`,
    )
  }

  #changed(): void {
    const { file, events, log } = this.#parts
    try {
      saveCluster(file.node.stateDir, this.ledger.cluster, this.ledger.statements())
    } catch (error) {
      // Peers hold it too: after a restart it comes back from them.
      log.error({ error: errorText(error) }, 'the state of the cluster could not be saved; is the disk full?')
    }
    const view = clusterView(this.ledger)
    if (view === null) return
    for (const { kind, severity, subject, text } of viewEvents(this.#view, view))
      events.add(kind, severity, subject, text)
    this.#view = view
    this.#refresh()
  }

  #step(): Situation {
    const states = this.#links?.states() ?? []
    const digest = this.ledger.digest()
    const alive = states.filter(peer => peer.state === 'alive')
    const { situation, wakeAtMs } = this.#situations.step(
      this.#view,
      {
        allSynced: alive.every(peer => peer.digest === digest),
        ready: name => alive.some(peer => peer.name === name && peer.digest === digest),
      },
      performance.now(),
    )
    this.#waiting = Number.isFinite(wakeAtMs)
    this.#situationAlarm.notAfter(wakeAtMs)
    return situation
  }

  #refresh(): void {
    if (this.#stopped) return
    this.#situation = this.#step()
    for (const listener of this.#listeners) listener(this.#situation)
  }
}

const decoded = (payload: Uint8Array): ReturnType<typeof decodeFrame> => {
  try {
    return decodeFrame(payload)
  } catch {
    return undefined
  }
}
