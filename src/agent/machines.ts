/** What is known of the machines of the peers (decision 7): told by the prober, read by the API and the packet path. */
import type { MachineState } from '../control/cluster-types.ts'
import type { NodeState } from '../health/node-probe.ts'
import type { Machine } from './cluster/api.ts'
import type { EventLog } from './events.ts'

const UNKNOWN: Machine = { state: 'unknown', rttMs: null }

const SENTENCE: Record<Exclude<MachineState, 'unknown'>, (name: string) => string> = {
  alive: name => `the machine ${name} answers probes`,
  suspect: name => `the machine ${name} has missed two probes`,
  dead: name => `the machine ${name} answers no probes any more: it or its network is down`,
}

export class Machines {
  readonly #events: EventLog
  readonly #onDead: (names: ReadonlySet<string>) => void
  readonly #onBack: (name: string) => void
  readonly #states = new Map<string, Machine>()
  #dead = ''

  /**
   * @param onDead called with all dead ones whenever they change
   * @param onBack called with one that answers, and was suspect, dead or never heard
   */
  constructor(
    events: EventLog,
    onDead: (names: ReadonlySet<string>) => void,
    onBack: (name: string) => void,
  ) {
    this.#events = events
    this.#onDead = onDead
    this.#onBack = onBack
  }

  of(name: string): Machine {
    return this.#states.get(name) ?? UNKNOWN
  }

  update(states: readonly NodeState[]): void {
    for (const { name, state, rttMs } of states) {
      const before = this.of(name).state
      this.#states.set(name, { state, rttMs })
      if (state === before || state === 'unknown') continue
      const severity = state === 'dead' ? 'error' : state === 'suspect' ? 'warning' : 'info'
      this.#events.add(`node.${state}`, severity, name, SENTENCE[state](name))
      if (state === 'alive') this.#onBack(name)
    }
    this.#tell()
  }

  /** Forgets all but these. */
  keep(names: readonly string[]): void {
    for (const name of this.#states.keys()) if (!names.includes(name)) this.#states.delete(name)
    this.#tell()
  }

  #tell(): void {
    const dead = [...this.#states].filter(([, { state }]) => state === 'dead').map(([name]) => name)
    const now = dead.sort().join()
    if (now === this.#dead) return
    this.#dead = now
    this.#onDead(new Set(dead))
  }
}
