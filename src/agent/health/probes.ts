/** Probes the endpoints of this host, and tells when the health of one changes (R-B2): the shell of ProbeSchedule. */
import type { CheckType } from '../../config/health-fields.ts'
import {
  type ProbeAction,
  type ProbeEvent,
  ProbeSchedule,
  type ProbeStatus,
} from '../../health/probe/schedule.ts'
import type { CheckTarget } from '../../health/probe/target.ts'
import type { Health } from '../../health/types.ts'
import { probeExec } from './exec-probe.ts'
import { probeHttp } from './http-probe.ts'
import { bad, failureText, type ProbeOutcome, type ProbeRun } from './probe-run.ts'
import { probeTcp } from './tcp-probe.ts'

const RUNS: Record<Exclude<CheckType, 'none'>, ProbeRun> = {
  tcp: probeTcp,
  http: probeHttp,
  https: probeHttp,
  exec: probeExec,
}

/** Of a longer time Node would make no time at all. */
const MAX_WAIT_MS = 60_000

export interface ProbesOptions {
  /** `why` is what the deciding probe found, a short sentence. */
  onVerdict(key: string, health: Health, why: string): void
  /** From 0 to below 1. */
  random?: () => number
}

export class HealthProbes {
  readonly #schedule = new ProbeSchedule()
  readonly #options: ProbesOptions
  /** By number of the probe. */
  readonly #running = new Map<number, AbortController>()
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: ProbesOptions) {
    this.#options = options
  }

  /** All that are to be probed from now on; those that stay as they were go on. */
  targets(targets: readonly CheckTarget[]): void {
    this.#step({ on: 'targets', targets })
  }

  status(): ProbeStatus[] {
    return this.#schedule.status()
  }

  /** Ends what is under way and tells nothing more. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    for (const controller of this.#running.values()) controller.abort()
    this.#running.clear()
  }

  #step(event: ProbeEvent): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    const nowMs = performance.now()
    const { actions, wakeAtMs } = this.#schedule.step(event, nowMs, this.#options.random ?? Math.random)
    // Before the actions: what they call may come back here.
    if (wakeAtMs < Number.POSITIVE_INFINITY) {
      const waitMs = Math.min(MAX_WAIT_MS, Math.max(0, wakeAtMs - nowMs))
      this.#timer = setTimeout(() => this.#step({ on: 'tick' }), Math.ceil(waitMs))
    }
    for (const action of actions) this.#act(action)
  }

  #act(action: ProbeAction): void {
    if (action.do === 'verdict') this.#options.onVerdict(action.key, action.health, action.why)
    else if (action.do === 'cancel') this.#end(action.run)
    else void this.#probe(action.target, action.run)
  }

  #end(run: number): void {
    this.#running.get(run)?.abort()
    this.#running.delete(run)
  }

  async #probe(target: CheckTarget, run: number): Promise<void> {
    const { type, timeout } = target.check
    if (type === 'none') return
    const controller = new AbortController()
    this.#running.set(run, controller)
    let late = false
    const timer = setTimeout(() => {
      late = true
      controller.abort()
    }, timeout)
    let outcome: ProbeOutcome
    try {
      outcome = await RUNS[type](target, controller.signal)
    } catch (error) {
      outcome = bad(failureText(error))
    }
    clearTimeout(timer)
    if (late && !outcome.ok) outcome = bad(`${outcome.why} within ${timeout} ms`)
    this.#running.delete(run)
    this.#step({ on: 'result', key: target.key, run, ok: outcome.ok, why: outcome.why })
  }
}
