/**
 * Liveness of machines by echo probes that their kernels answer (architecture decision 7): a node whose agent is dead or
 * frozen still answers, and a node that is gone does not. A pure core: the shell (prober.ts) has socket, clock and randomness.
 *
 * Targets are probed in rounds, 80 ms apart; above 50 targets a round takes the next 50 of them only, so that a node sends at most
 * 625 probes a second, and each target's interval grows in proportion to their number (R-B7). When a target's next probe is due and the last one was not answered, that is a miss. Two misses: suspect; three: dead.
 * So a node that goes right after an answer is suspect 240 ms later and dead 320 ms later (with 1,000 targets: 4.8 and 6.4 s). A round trip of 160 ms or more looks
 * like loss; cluster links are far from that.
 *
 *   unknown --answer--> alive --2 misses--> suspect --1 more--> dead
 *                         ^--- 2 answers in a row ---+-----------+
 *
 * A target that never answered stays unknown: a filter that drops echo requests must not read as the death of a machine.
 */

export interface ProbeSettings {
  /** Between two rounds (ms). Detection takes up to `deadAfter` + 1 of them; the cost is a packet each way a target. */
  roundMs: number
  /** Targets a round probes at most; with more, each one's interval grows to `roundMs` × targets / this, on average. */
  perRound: number
  /** Misses in a row after which a target is suspect, and dead. */
  suspectAfter: number
  deadAfter: number
  /** Answers in a row that bring a suspect or dead target back; more of them damp a flapping link. */
  aliveAfter: number
  /** Misses that are not counted in one silence, because we were late ourselves. Bounds how long a starved agent stays blind. */
  graces: number
}

export const PROBE: Readonly<ProbeSettings> = {
  roundMs: 80,
  perRound: 50,
  suspectAfter: 2,
  deadAfter: 3,
  aliveAfter: 2,
  graces: 3,
}

export interface ProbeTarget {
  readonly name: string
  /** u32 in host order. */
  readonly ipv4: number
}
export type ProbeState = 'alive' | 'suspect' | 'dead' | 'unknown'
export interface NodeState {
  readonly name: string
  readonly state: ProbeState
  /** Smoothed round trip in ms; `null` while unknown or dead. */
  readonly rttMs: number | null
}

/** What the core asks of its shell. */
export interface ProbePorts {
  /** An unpredictable u32: answers are believed by it. */
  random(): number
  send(ipv4: number, sequence: number, nonceHigh: number, nonceLow: number): void
}

/** Probes of one target that may still be answered. */
const RECENT = 8
/** Round trips alone are told this often (ms), and only when they moved by a quarter. */
const REPORT_MS = 1000
const SMOOTHING = 1 / 8 // as TCP's estimator, RFC 6298

interface Target extends ProbeTarget {
  state: ProbeState
  rttMs: number | null
  told: number | null
  changed: boolean
  /** Number of the newest probe sent, and of the newest one answered; they count from 1. */
  sent: number
  answered: number
  misses: number
  /** Answers to probes in a row. */
  streak: number
  graces: number
  /** The newest probe did not leave this machine. */
  unsent: boolean
  /** Ring by probe number: three words (number, nonce high, nonce low), and the time of sending. */
  readonly recent: Uint32Array
  readonly sentAtMs: Float64Array
}

export class NodeProbe {
  readonly #settings: ProbeSettings
  readonly #ports: ProbePorts
  #targets: Target[] = []
  readonly #byAddress = new Map<number, Target>()
  #cursor = 0
  #roundAtMs = 0
  #reportAtMs = 0
  #dirty = false
  /** Those probed in the newest round. */
  #lastRound: Target[] = []

  constructor(ports: ProbePorts, settings: ProbeSettings = PROBE) {
    this.#ports = ports
    this.#settings = settings
  }

  /** When `round` wants to be called next; Infinity without targets. */
  get wakeAtMs(): number {
    return this.#targets.length === 0 ? Number.POSITIVE_INFINITY : this.#roundAtMs
  }

  /** Replaces the targets; those with the same name and address go on. Of two with one address only the first is probed. */
  setTargets(targets: readonly ProbeTarget[], nowMs: number): void {
    const before = new Map(this.#targets.map(target => [target.name, target]))
    if (before.size === 0) this.#roundAtMs = nowMs
    this.#byAddress.clear()
    this.#targets = []
    for (const { name, ipv4 } of targets) {
      if (this.#byAddress.has(ipv4)) continue
      const known = before.get(name)
      const target = known?.ipv4 === ipv4 ? known : newTarget(name, ipv4)
      this.#targets.push(target)
      this.#byAddress.set(ipv4, target)
      this.#dirty ||= target.changed
    }
    if (this.#cursor >= this.#targets.length) this.#cursor = 0
    this.#lastRound = []
  }

  /** An echo reply came. Answers false for one that is not to a recent probe of ours: forged, repeated or too old. */
  answer(ipv4: number, nonceHigh: number, nonceLow: number, nowMs: number): boolean {
    const target = this.#byAddress.get(ipv4)
    if (target === undefined) return false
    const number = findProbe(target, nonceHigh, nonceLow)
    if (number <= target.answered) return false
    target.streak = number === target.answered + 1 ? target.streak + 1 : 1
    target.answered = number
    target.graces = 0
    // Of the probes after this one, the newest is not judged yet.
    target.misses = Math.min(target.misses, Math.max(0, target.sent - number - 1))
    const rttMs = Math.max(0, nowMs - target.sentAtMs[number % RECENT])
    target.rttMs = target.rttMs === null ? rttMs : target.rttMs + (rttMs - target.rttMs) * SMOOTHING
    if (target.state === 'unknown') this.#transition(target, 'alive')
    else if (target.streak >= this.#settings.aliveAfter && target.misses < this.#settings.suspectAfter)
      this.#transition(target, 'alive')
    return true
  }

  /**
   * If a round is due: judges the last probe of its targets and sends the next. Answers that wait in the socket must have been
   * given to `answer` before: then our own lateness only gave the others longer to answer.
   */
  round(nowMs: number): void {
    if (nowMs < this.wakeAtMs) return
    const { roundMs, perRound } = this.#settings
    // We were starved or stopped for a whole round: answers may still be on their way up through our own kernel.
    const late = nowMs - this.#roundAtMs > roundMs
    // Keeps the pace, but never two rounds at once to catch up: every probe has at least half a round to be answered.
    this.#roundAtMs = late ? nowMs + roundMs : Math.max(this.#roundAtMs + roundMs, nowMs + roundMs / 2)
    const count = this.#targets.length
    const share = Math.min(count, perRound)
    this.#lastRound = Array.from({ length: share }, (_, i) => this.#targets[(this.#cursor + i) % count])
    this.#cursor = (this.#cursor + share) % count
    for (const target of this.#lastRound) {
      this.#judge(target, late || target.unsent)
      this.#probe(target, nowMs)
    }
    if (nowMs >= this.#reportAtMs) this.#report(nowMs)
  }

  /** The round just sent was refused by our own kernel (no buffers): its silence says nothing of the targets. */
  unsent(): void {
    for (const target of this.#lastRound) target.unsent = true
  }

  /** Targets whose state changed, or whose round trip moved, since the last call; or null. */
  takeChanges(): NodeState[] | null {
    if (!this.#dirty) return null
    this.#dirty = false
    const changes: NodeState[] = []
    for (const target of this.#targets) {
      if (!target.changed) continue
      target.changed = false
      target.told = target.rttMs
      changes.push(stateOf(target))
    }
    return changes.length === 0 ? null : changes
  }

  states(): NodeState[] {
    return this.#targets.map(stateOf)
  }

  #judge(target: Target, excused: boolean): void {
    target.unsent = false
    if (target.sent === target.answered) return
    if (target.state === 'unknown') return
    const { graces, suspectAfter, deadAfter } = this.#settings
    if (excused && target.graces < graces) {
      target.graces++
      return
    }
    target.misses++
    if (target.misses >= deadAfter) this.#transition(target, 'dead')
    else if (target.misses >= suspectAfter && target.state === 'alive') this.#transition(target, 'suspect')
  }

  #probe(target: Target, nowMs: number): void {
    const number = ++target.sent
    const at = (number % RECENT) * 3
    const high = this.#ports.random() >>> 0
    const low = this.#ports.random() >>> 0
    target.recent[at] = number
    target.recent[at + 1] = high
    target.recent[at + 2] = low
    target.sentAtMs[number % RECENT] = nowMs
    this.#ports.send(target.ipv4, number & 0xffff, high, low)
  }

  #transition(target: Target, state: ProbeState): void {
    if (target.state === state) return
    target.state = state
    if (state === 'dead') target.rttMs = null
    target.changed = true
    this.#dirty = true
  }

  #report(nowMs: number): void {
    this.#reportAtMs = nowMs + REPORT_MS
    for (const target of this.#targets) {
      const { rttMs, told } = target
      if (rttMs === null || (told !== null && Math.abs(rttMs - told) <= told / 4)) continue
      target.changed = true
      this.#dirty = true
    }
  }
}

const newTarget = (name: string, ipv4: number): Target => ({
  name,
  ipv4,
  state: 'unknown',
  rttMs: null,
  told: null,
  changed: true,
  sent: 0,
  answered: 0,
  misses: 0,
  streak: 0,
  graces: 0,
  unsent: false,
  recent: new Uint32Array(RECENT * 3),
  sentAtMs: new Float64Array(RECENT),
})

/** The number of the recent probe with this nonce, or 0. */
const findProbe = ({ recent, sent }: Target, high: number, low: number): number => {
  for (let number = sent; number > Math.max(0, sent - RECENT); number--) {
    const at = (number % RECENT) * 3
    if (recent[at + 1] === high && recent[at + 2] === low) return number
  }
  return 0
}

const stateOf = ({ name, state, rttMs }: Target): NodeState => ({ name, state, rttMs })
