/** A health host core under test: virtual time, recorded actions, and a cache that is fed by nothing but row changes. */
import { appKey } from '../../src/health/app-id.ts'
import {
  type Endpoint,
  HealthHost,
  type HostAction,
  type HostEvent,
  type HostSettings,
} from '../../src/health/host/host.ts'
import type { AppId, HealthMessage, Row, RowOperation } from '../../src/health/types.ts'

export const HOST = 77
export const START_MS = 5000
export const HOST_SETTINGS: HostSettings = {
  host: HOST,
  name: 'h1',
  beatMs: 1000,
  leaseBeats: 3,
  forwardEvery: 10,
  dnsName: 'h1.example',
  dnsEvery: 30,
  overload: { drain: 95, resume: 75, forMs: 30_000 },
  load: { everyMs: 15_000, step: 5, jump: 25 },
}

export const appOf = (port: number, over: Partial<AppId> = {}): AppId => ({
  vip: '10.99.0.1',
  port,
  physical: '10.10.0.71',
  physicalPort: port,
  protocol: 'tcp',
  specific: '',
  ...over,
})
export const keyOf = (port: number): string => appKey(appOf(port))
export const endpointOf = (
  port: number,
  capacity = 50,
  whenFailing: Endpoint['whenFailing'] = 'draining',
): Endpoint => ({
  ...{ app: appOf(port), capacity, whenFailing },
})

/** The n-th chain's seed. */
export const seeds = (): (() => Uint8Array) => {
  let n = 0
  return () => {
    const seed = new Uint8Array(32)
    new DataView(seed.buffer).setUint32(0, ++n)
    return seed
  }
}

export const applyOperations = (rows: Map<number, Row>, operations: readonly RowOperation[]): void => {
  for (const operation of operations) {
    if (operation.operation === 'add') {
      if (rows.has(operation.row.id)) throw new Error(`row ${operation.row.id} is added twice`)
      rows.set(operation.row.id, operation.row)
      continue
    }
    const id = operation.operation === 'delete' ? operation.id : operation.row.id
    const before = rows.get(id)
    if (before === undefined) throw new Error(`${operation.operation} of row ${id}, which is not there`)
    if (operation.operation === 'update') rows.set(id, { ...operation.row, app: before.app })
    else rows.delete(id)
  }
}

export const byId = (rows: Iterable<Row>): Row[] => [...rows].sort((a, b) => a.id - b.id)

type Of<T extends HealthMessage['type']> = Extract<HealthMessage, { type: T }>
export interface Sent<T extends HealthMessage['type'] = HealthMessage['type']> {
  atMs: number
  to: string
  message: Of<T>
}

export class HostRig {
  readonly host: HealthHost
  readonly settings: HostSettings
  nowMs = START_MS
  wakeAtMs = START_MS
  sent: Sent[] = []
  actions: HostAction[] = []

  /** `units`: all linked; null: the membership is not told. */
  constructor(settings: Partial<HostSettings> = {}, units: readonly string[] | null = ['u1', 'u2']) {
    this.settings = { ...HOST_SETTINGS, ...settings }
    this.host = new HealthHost(this.settings, 9, START_MS, seeds())
    if (units === null) return
    this.step({ on: 'units', units })
    for (const unit of units) this.step({ on: 'link', unit, up: true })
  }

  /** Answers what this step did. */
  step(event: HostEvent): HostAction[] {
    const { actions, wakeAtMs } = this.host.step(event, this.nowMs)
    this.wakeAtMs = wakeAtMs
    this.actions.push(...actions)
    for (const action of actions)
      if (action.do === 'send') this.sent.push({ atMs: this.nowMs, to: action.to, message: action.message })
    return actions
  }

  /** Lets `ms` pass, waking the core when it wants to be. */
  pass(ms: number): void {
    const untilMs = this.nowMs + ms
    for (let idle = 0; this.wakeAtMs <= untilMs; ) {
      idle = this.wakeAtMs <= this.nowMs ? idle + 1 : 0
      if (idle > 20) throw new Error(`the core spins at ${this.nowMs} ms`)
      this.nowMs = Math.max(this.nowMs, this.wakeAtMs)
      this.step({ on: 'tick' })
    }
    this.nowMs = untilMs
  }

  /** Takes what was sent of one type, and forgets all that was sent. */
  take<T extends HealthMessage['type']>(type: T, to?: string): Sent<T>[] {
    const all = this.sent.filter(sent => sent.message.type === type && (to === undefined || sent.to === to))
    this.sent = []
    return all as unknown as Sent<T>[]
  }

  row(port: number): Row {
    const row = this.host.rows().find(({ app }) => app.port === port)
    if (row === undefined) throw new Error(`no row of port ${port}`)
    return row
  }

  right(unit: string, { message }: Sent<'postulate'>): void {
    this.step({
      on: 'message',
      from: unit,
      message: { type: 'postulate-right', host: HOST, postulate: message.postulate },
    })
  }
  wrong(unit: string, { message }: Sent<'postulate'>, differs: number[] = []): void {
    this.step({
      on: 'message',
      from: unit,
      message: { type: 'postulate-wrong', host: HOST, postulate: message.postulate, differs },
    })
  }
}
