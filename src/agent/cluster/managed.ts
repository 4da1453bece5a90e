/**
 * The shell of a managed cluster on one node: the ledger and its file, the replica wired to the links, and the situation
 * that follows from them. Everything it decides is in pure modules.
 */
import type { Logger } from 'pino'
import type { Ledger } from '../../cluster/ledger.ts'
import { Replica, type ReplicaAction, type ReplicaEvent } from '../../cluster/replica.ts'
import { statementHash } from '../../cluster/statement.ts'
import { saveCluster } from '../../cluster/store.ts'
import type { ClusterView, Member, Statement } from '../../cluster/types.ts'
import { clusterView } from '../../cluster/view.ts'
import type { NodeFile } from '../../config/schema.ts'
import { ShuntError } from '../../errors.ts'
import { Alarm } from '../../gossip/alarm.ts'
import {
  decodeFrame,
  encodeLedgerEntries,
  encodeLedgerList,
  encodeLedgerWant,
  LENGTH_BYTES,
} from '../../gossip/frames.ts'
import type { PeerLinks } from '../../gossip/links-api.ts'
import type { EventLog } from '../events.ts'
import { Refusals } from './refusals.ts'
import { checkFile, memberOfFile, openSaved } from './saved.ts'
import { Saver } from './saver.ts'
import { type Situation, Situations } from './situation.ts'
import { despiteConflict, type Standing, standingOf } from './standing.ts'
import { checkSubmit } from './submit-check.ts'
import { viewEvents } from './view-events.ts'

export interface ManagedParts {
  readonly file: NodeFile
  readonly ownId: string
  readonly log: Logger
  readonly events: EventLog
  /** How long after a failure the state is saved again. */
  readonly saveAgainMs?: number
}

export class Managed {
  readonly ledger: Ledger
  readonly #parts: ManagedParts
  readonly #replica: Replica
  readonly #situations: Situations
  readonly #saver: Saver
  readonly #refusals = new Refusals()
  readonly #replicaAlarm = new Alarm(() => this.#drive({ on: 'wake' }))
  readonly #situationAlarm = new Alarm(() => this.#refresh())
  readonly #listeners: ((situation: Situation) => void)[] = []
  #links: PeerLinks | null = null
  #view: ClusterView
  /** This node as the member that it is, or was last. */
  #self: Member
  #situation: Situation
  #refusedStatements = 0
  #waiting = false
  #stopped = false

  /** @throws ShuntError SHUNT_ERR_STATE when this node is in no cluster, or no longer */
  constructor(parts: ManagedParts) {
    this.#parts = parts
    this.#saver = this.#newSaver()
    const { ledger, view } = openSaved(parts.file.node.stateDir)
    this.ledger = ledger
    this.#view = view
    this.#self = this.#checkMembership()
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

  /** Why this node is out of the cluster for good, or undefined: a conflict may pass. */
  expelled(): string | undefined {
    const { standing } = this
    return standing.kind === 'gone' ? standing.why : undefined
  }

  /** As the statements held now say. */
  get standing(): Standing {
    return standingOf(this.#view, this.#parts.ownId)
  }

  /** What it is at the start. A conflict is told, and is no reason not to run. */
  #checkMembership(): Member {
    const { standing } = this
    if (standing.kind === 'gone' || standing.kind === 'unknown')
      throw new ShuntError('SHUNT_ERR_STATE', standing.why)
    if (standing.kind === 'conflict') {
      this.#inConflict(standing.why)
      return memberOfFile(this.#parts.file, this.#parts.ownId)
    }
    checkFile(this.#parts.file, standing.member)
    return standing.member
  }

  #inConflict(why: string): void {
    const { events, log, file } = this.#parts
    events.add('member.conflict', 'error', file.node.name, why)
    log.error(why)
  }

  /** Totals since the start. */
  counters(): Record<string, number> {
    return { cluster_statements_refused: this.#refusedStatements }
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
    this.#saver.stop()
  }

  /**
   * Takes statements, all or none; on disk when it returns.
   * @throws as checkSubmit does; SHUNT_ERR_STATE when they were taken (and told to the others) but could not be saved here: that is tried
   * again by itself, and at the next call
   */
  submit(statements: readonly Statement[]): { accepted: number; known: number } {
    const fresh = statements.filter(statement => !this.ledger.has(statementHash(statement)))
    checkSubmit(this.#view, statements, statement => !fresh.includes(statement))
    if (fresh.length > 0) this.#drive({ on: 'submit', statements: fresh })
    else if (this.#saver.unsaved !== undefined) this.#saver.save()
    const lacking = fresh.find(statement => !this.ledger.has(statementHash(statement)))
    if (lacking !== undefined)
      throw new ShuntError(
        'SHUNT_ERR_STATEMENT',
        `a statement (${lacking.body.kind}) was not taken: it is superseded by what is held here, or refused (shunt events says why)`,
      )
    if (this.#saver.unsaved !== undefined)
      throw new ShuntError(
        'SHUNT_ERR_STATE',
        `the change is in force and the other nodes are told of it, but it could not be saved here: ${this.#saver.unsaved}; make room on the disk, it is tried again every few seconds (shunt events tells when it is saved)`,
      )
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
        return this.#refused(action.peer, action.why, action.count)
      case 'changed':
        return this.#changed()
    }
  }

  #newSaver(): Saver {
    const { file, events, log, saveAgainMs } = this.#parts
    const { name, stateDir } = file.node
    return new Saver({
      save: () => saveCluster(stateDir, this.ledger.cluster, this.ledger.statements()),
      failed: why => {
        log.error({ error: why }, 'the state of the cluster could not be saved; is the disk full?')
        const text = `what the cluster says cannot be saved: ${why}; if this node restarts now it comes back with an older state; it is tried again`
        events.add('state.unsaved', 'error', name, text)
      },
      recovered: () => events.add('state.saved', 'info', name, 'what the cluster says is saved again'),
      ...(saveAgainMs === undefined ? {} : { againMs: saveAgainMs }),
    })
  }

  #refused(peer: string, why: string, count = 1): void {
    this.#refusedStatements += count
    const text = this.#refusals.refused(peer, why, performance.now())
    if (text !== undefined) this.#parts.events.add('statement.refused', 'warning', peer, text)
  }

  #changed(): void {
    this.#saver.save()
    const view = clusterView(this.ledger)
    if (view === null) return
    for (const { kind, severity, subject, text } of viewEvents(this.#view, view))
      this.#parts.events.add(kind, severity, subject, text)
    const before = this.standing.kind
    this.#view = view
    const { standing } = this
    if (standing.kind === 'member') this.#self = standing.member
    else if (before === 'member' && standing.kind === 'conflict') this.#parts.log.error(standing.why)
    this.#refresh()
  }

  #step(): Situation {
    const states = this.#links?.states() ?? []
    const digest = this.ledger.digest()
    const alive = states.filter(peer => peer.state === 'alive')
    const isMember = this.standing.kind === 'member'
    const { situation, wakeAtMs } = this.#situations.step(
      isMember ? this.#view : despiteConflict(this.#view, this.#self),
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
