/** A `shunt top` without a terminal: fixed looks, keys, and the frame as plain text. */
import { lineText } from '../../src/tui/lines.ts'
import type { Effect, Look, Settings, State, UiEvent } from '../../src/tui/model.ts'
import { flowsWanted } from '../../src/tui/rows.ts'
import { start, step } from '../../src/tui/step.ts'
import { frame } from '../../src/tui/views/frame.ts'
import { ATOMS, FakeView, FLOWS, HEALTH, HOSTS, NODES, STATUS, VIPS } from './fake-view.ts'

export const SETTINGS: Settings = {
  intervalMs: 1000,
  readOnly: false,
  unicode: true,
  socket: '/run/shunt/control.sock',
  commandOptions: [],
}

/** Look number `n`, a second after the one before; counters grow from look to look. */
export const lookAt = (n: number, change: Partial<Look> = {}): Look => ({
  atMs: 10_000 + n * 1000,
  time: new Date(Date.parse('2026-03-02T09:30:10.000Z') + n * 1000).toISOString(),
  status: {
    ...STATUS,
    counters: { kernel_route_hit: 2500 * n * (n + 1), kernel_decap_hit: 0, ring_packets: 17 * n },
  },
  nodes: NODES,
  vips: { vips: VIPS.vips.map(vip => ({ ...vip, connections: 340 + 6 * n * n })) },
  hosts: { hosts: HOSTS.hosts.map(host => ({ ...host, connections: host.connections! + 3 * n * n })) },
  health: HEALTH,
  atoms: ATOMS,
  flows: null,
  flowsFor: '',
  events: new FakeView().log.query({ after: 0, limit: 100 }),
  ...change,
})

export class Tui {
  state: State
  effects: Effect[] = []

  constructor(settings: Partial<Settings> = {}, rows = 24, columns = 80) {
    this.state = start({ ...SETTINGS, ...settings }, rows, columns)
  }
  send(event: UiEvent): this {
    const { state, effects } = step(this.state, event)
    this.state = state
    this.effects.push(...effects)
    return this
  }
  keys(...keys: string[]): this {
    for (const key of keys) this.send({ on: 'key', key })
    return this
  }
  /** Looks 0 to `n`, with flows if the screen wants them. */
  looks(n: number, change: Partial<Look> = {}): this {
    for (let i = 0; i <= n; i++) this.look(i, change)
    return this
  }
  look(n: number, change: Partial<Look> = {}): this {
    const flowsFor = flowsWanted(this.state)
    const flows = flowsFor === '' ? null : FLOWS
    return this.send({ on: 'look', look: lookAt(n, { flows, flowsFor, ...change }) })
  }
  lines(): string[] {
    return frame(this.state).map(line => lineText(line).trimEnd())
  }
  text(): string {
    return `${this.lines().join('\n')}\n`
  }
  /** The row under the cursor. */
  chosen(): string {
    return this.lines().find(line => line.startsWith('> ')) ?? ''
  }
}
