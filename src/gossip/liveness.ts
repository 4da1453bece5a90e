/**
 * Life of the link to one peer, as a pure machine (architecture decision 7: this is the liveness of an agent,
 * not of its node). The shell (link-keeper.ts) carries out the actions and calls `step` when something happens and
 * when `wakeAtMs` is reached.
 *
 *   idle --(dial due)--> dialing --opened--> greeting --hello--> greeted --heard--> alive
 *     ^                     |                   |                   |                 |
 *     +---------------------+-------------------+-------------------+-----------------+
 *        closed, HELLO refused, GOODBYE, silence: after a backoff the dialing side tries again
 *
 * A peer is alive once its HELLO was valid *and* a heartbeat followed: the heartbeat says that it took ours,
 * so a pair of which one side refuses the other does not flap. A lost link is always seen as dead first,
 * also when a new one is already there: frames may have been lost, and what is kept about the peer has to be sent
 * again.
 */
import { believed, newsAtMs, newsWithinMs, nextBeatMs, silenceOf } from './pace.ts'

export interface LivenessSettings {
  /**
   * A heartbeat is sent this often (ms), less often with many peers (pace.ts). Costs CPU in proportion; detection time is bounded by
   * deadAfterMs.
   */
  heartbeatMs: number
  /**
   * Silence of an alive peer after which it is dead (ms); at least 2 heartbeats, else one late packet kills. Less than the second
   * within which a death must be seen, since the last heartbeat may have left just before it. Longer for a peer that says that its
   * heartbeats come less often.
   */
  deadAfterMs: number
  /** How long a new link may take up to its first heartbeat (ms). */
  greetingMs: number
  /** How long a peer that was never heard counts as connecting rather than dead (ms). */
  firstContactMs: number
  /** Bounds of the wait between two dials (ms). The n-th wait is min + jitter * (min(max, min * 2^n) - min). */
  backoffMinMs: number
  backoffMaxMs: number
  /** How many heartbeat intervals a silent peer is given because our own timer was late. */
  graceIntervals: number
  /** Every n-th heartbeat asks for an echo, to measure the round trip. */
  echoEvery: number
}

export const LIVENESS: Readonly<LivenessSettings> = {
  heartbeatMs: 250,
  deadAfterMs: 900,
  greetingMs: 2000,
  firstContactMs: 3000,
  backoffMinMs: 100,
  backoffMaxMs: 2000,
  graceIntervals: 3,
  echoEvery: 8,
}

export type PeerStatus = 'connecting' | 'alive' | 'dead'
export type LinkPhase = 'idle' | 'dialing' | 'greeting' | 'greeted' | 'alive'

export interface Liveness {
  readonly phase: LinkPhase
  readonly status: PeerStatus
  /** Whether this side dials; the other one waits to be called. */
  readonly dials: boolean
  readonly draining: boolean
  /** When a valid frame was last read, or null. */
  readonly heardAtMs: number | null
  /** When the machine was made, and when this phase began. */
  readonly startedMs: number
  readonly sinceMs: number
  /** Tries in a row that did not lead to a lasting link. */
  readonly failures: number
  readonly dialAtMs: number
  readonly nextHeartbeatMs: number
  /** Time between two heartbeats of ours on this link, 0 when the next ones are to be spread; and between two of the peer's, as it says. */
  readonly intervalMs: number
  readonly peerIntervalMs: number
  readonly sequence: number
  /** Grace given since the peer was last heard, in intervals, and until when. */
  readonly graceGiven: number
  readonly graceUntilMs: number
  /** When step asked to be called; being called later than that is our own starvation. */
  readonly wakeAtMs: number
}

export type LivenessEvent =
  /** `lateMs`: by how much our timer was late, whichever peer it had been set for. */
  | { on: 'wake'; lateMs?: number }
  /** A link is there, dialled by us or by the peer; the shell has sent our HELLO on it. */
  | { on: 'opened' }
  /** The peer's HELLO was read and fits the configuration. */
  | { on: 'hello' }
  /** The peer's HELLO does not fit: it is a matter of configuration, so the next try can wait. */
  | { on: 'refused' }
  /** A valid frame was read; `draining` is given by heartbeats, `nextMs` by those that say how long the next may take. */
  | { on: 'heard'; draining?: boolean; nextMs?: number }
  /** Heartbeats have something new to say: the next one does not wait for its turn. */
  | { on: 'news' }
  | { on: 'goodbye' }
  /** The link broke, or the dial failed. */
  | { on: 'closed' }
  /** The peer's machine, which could not be reached, can be: what failed before says nothing of the next try. */
  | { on: 'reachable' }

export type LivenessAction =
  | { do: 'dial' }
  | { do: 'heartbeat'; sequence: number; wantsEcho: boolean }
  /** Close the link and forget it; no `closed` event follows. */
  | { do: 'close'; reason: string }
  /** Give up the dial under way: its first packets are lost, and TCP repeats them late (RFC 6298: a second, then two). `closed` follows. */
  | { do: 'give up' }
  /** status or draining have changed. */
  | { do: 'changed' }

export interface LivenessStep {
  state: Liveness
  actions: LivenessAction[]
  wakeAtMs: number
}

/** A machine for a peer that was never heard; `dials` says whether this side dials. */
export const startLiveness = (dials: boolean, nowMs: number): Liveness => ({
  phase: 'idle',
  status: 'connecting',
  dials,
  draining: false,
  heardAtMs: null,
  startedMs: nowMs,
  sinceMs: nowMs,
  failures: 0,
  dialAtMs: nowMs,
  nextHeartbeatMs: nowMs,
  intervalMs: 0,
  peerIntervalMs: 0,
  sequence: 0,
  graceGiven: 0,
  graceUntilMs: nowMs,
  wakeAtMs: nowMs,
})

/** The wait before the next dial after `failures` (1 or more) failed ones; `jitter` in [0, 1). */
export const backoffMs = (
  failures: number,
  jitter: number,
  settings: LivenessSettings = LIVENESS,
): number => {
  const { backoffMinMs: min, backoffMaxMs: max } = settings
  return min + jitter * (Math.min(max, min * 2 ** Math.min(failures, 30)) - min)
}

/**
 * One step. `jitter`, in [0, 1), spreads redials and heartbeats. `intervalMs`: between two heartbeats from now on.
 * Times are of one monotonic clock.
 * Every answer replaces the state, and `wakeAtMs` (Infinity: only on an event) the former one.
 */
export const step = (
  state: Liveness,
  event: LivenessEvent,
  nowMs: number,
  jitter: number,
  settings: LivenessSettings = LIVENESS,
  intervalMs: number = settings.heartbeatMs,
): LivenessStep => {
  const actions: LivenessAction[] = []
  const next = apply({ ...state }, event, { nowMs, jitter, settings, intervalMs, actions })
  if (next.status !== state.status || next.draining !== state.draining) actions.push({ do: 'changed' })
  next.wakeAtMs = wakeAt(next, settings)
  return { state: next, actions, wakeAtMs: next.wakeAtMs }
}

type Draft = { -readonly [K in keyof Liveness]: Liveness[K] }
interface Context {
  nowMs: number
  jitter: number
  settings: LivenessSettings
  intervalMs: number
  actions: LivenessAction[]
}

const linked = (phase: LinkPhase): boolean => phase === 'greeting' || phase === 'greeted' || phase === 'alive'

const apply = (state: Draft, event: LivenessEvent, context: Context): Draft => {
  const { nowMs, jitter, settings, intervalMs, actions } = context
  switch (event.on) {
    case 'wake':
      return wake(state, event.lateMs ?? 0, context)
    case 'opened':
      // A new link while the old one is there: the peer has lost that one, and what was sent on it.
      if (linked(state.phase)) lose(state, context)
      state.intervalMs = 0
      state.peerIntervalMs = settings.heartbeatMs
      return enter(state, 'greeting', nowMs)
    case 'hello':
      if (state.phase !== 'greeting') return state
      enter(state, 'greeted', nowMs)
      return beat(state, context)
    case 'heard':
      if (event.nextMs !== undefined && linked(state.phase))
        state.peerIntervalMs = believed(event.nextMs, settings.heartbeatMs)
      return heard(state, event.draining, nowMs)
    case 'news':
      if (state.phase !== 'greeted' && state.phase !== 'alive') return state
      // One that goes soon anyway says it too: news in a row hurry a heartbeat once.
      if (state.nextHeartbeatMs - nowMs > newsWithinMs(intervalMs, settings.heartbeatMs))
        state.nextHeartbeatMs = newsAtMs(nowMs, intervalMs, jitter, settings.heartbeatMs)
      // The ones after it are spread anew, else all peers would stay due within the moment of the news.
      state.intervalMs = 0
      return state
    case 'closed':
      return state.phase === 'idle' ? state : lose(state, context)
    case 'reachable':
      state.failures = 0
      if (state.phase === 'dialing' && nowMs > state.sinceMs) actions.push({ do: 'give up' })
      else if (state.phase === 'idle') state.dialAtMs = Math.min(state.dialAtMs, nowMs)
      return state
    case 'refused':
      if (!linked(state.phase)) return state
      actions.push({ do: 'close', reason: 'refused' })
      return loseByRefusal(state, context)
    case 'goodbye': {
      if (!linked(state.phase)) return state
      actions.push({ do: 'close', reason: 'goodbye' })
      // Before it was alive a GOODBYE means that the peer does not want us as we are.
      if (state.phase !== 'alive') return loseByRefusal(state, context)
      lose(state, context)
      state.draining = true
      return state
    }
  }
}

const enter = (state: Draft, phase: LinkPhase, nowMs: number): Draft => {
  state.phase = phase
  state.sinceMs = nowMs
  state.graceGiven = 0
  state.graceUntilMs = nowMs
  return state
}

const heard = (state: Draft, draining: boolean | undefined, nowMs: number): Draft => {
  if (state.phase === 'greeted') {
    enter(state, 'alive', nowMs)
    state.status = 'alive'
    state.draining = false
  }
  if (state.phase !== 'alive') return state
  state.heardAtMs = nowMs
  state.graceGiven = 0
  state.graceUntilMs = nowMs
  if (draining !== undefined) state.draining = draining
  return state
}

/** The link is gone: count the try, and say when to dial again. */
const lose = (state: Draft, { nowMs, jitter, settings }: Context): Draft => {
  // A crashing peer is not redialled in a hurry: a link that was alive only briefly counts as one more failure.
  const lasted = state.phase === 'alive' && nowMs - state.sinceMs >= settings.backoffMaxMs
  state.failures = lasted ? 1 : state.failures + 1
  state.dialAtMs = nowMs + backoffMs(state.failures, jitter, settings)
  if (state.status === 'alive') state.status = 'dead'
  return enter(state, 'idle', nowMs)
}

/** The configurations do not agree: there is no hurry, but a corrected peer is noticed within backoffMaxMs. */
const loseByRefusal = (state: Draft, context: Context): Draft => {
  lose(state, context)
  state.status = 'dead'
  state.dialAtMs = context.nowMs + (context.settings.backoffMaxMs * (1 + context.jitter)) / 2
  return state
}

const beat = (state: Draft, { nowMs, jitter, settings, intervalMs, actions }: Context): Draft => {
  actions.push({
    do: 'heartbeat',
    sequence: state.sequence,
    wantsEcho: state.sequence % settings.echoEvery === 0,
  })
  state.sequence = (state.sequence + 1) >>> 0
  // On one grid for all peers, so that one wake-up serves them all, or many of them.
  state.nextHeartbeatMs = nextBeatMs(nowMs, intervalMs, state.intervalMs, jitter, settings.heartbeatMs)
  state.intervalMs = intervalMs
  return state
}

const wake = (state: Draft, lateMs: number, context: Context): Draft => {
  const { nowMs, settings, actions } = context
  if (linked(state.phase)) {
    // We did not run when we should have: what the peer sent meanwhile is still waiting to be read.
    const starvedMs = Math.max(lateMs, nowMs - state.wakeAtMs)
    if (starvedMs > settings.heartbeatMs && state.graceGiven < settings.graceIntervals) {
      state.graceGiven++
      state.graceUntilMs = nowMs + settings.heartbeatMs
    }
    if (nowMs >= deadline(state, settings)) {
      actions.push({ do: 'close', reason: 'silence' })
      lose(state, context)
    } else if (state.phase !== 'greeting' && nowMs >= state.nextHeartbeatMs) beat(state, context)
  } else if (state.phase === 'idle' && state.dials && nowMs >= state.dialAtMs) {
    enter(state, 'dialing', nowMs)
    actions.push({ do: 'dial' })
  }
  if (state.status === 'connecting' && nowMs >= state.startedMs + settings.firstContactMs)
    state.status = 'dead'
  return state
}

/** When silence ends the link; Infinity without one. */
const deadline = (state: Liveness, settings: LivenessSettings): number => {
  if (!linked(state.phase)) return Number.POSITIVE_INFINITY
  const silence =
    state.phase === 'alive'
      ? state.heardAtMs! + silenceOf(state.peerIntervalMs, settings.heartbeatMs, settings.deadAfterMs)
      : state.sinceMs + settings.greetingMs
  return Math.max(silence, state.graceUntilMs)
}

const wakeAt = (state: Liveness, settings: LivenessSettings): number =>
  Math.min(
    deadline(state, settings),
    state.phase === 'greeted' || state.phase === 'alive' ? state.nextHeartbeatMs : Number.POSITIVE_INFINITY,
    state.phase === 'idle' && state.dials ? state.dialAtMs : Number.POSITIVE_INFINITY,
    state.status === 'connecting' ? state.startedMs + settings.firstContactMs : Number.POSITIVE_INFINITY,
  )
