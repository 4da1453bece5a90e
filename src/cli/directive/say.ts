/** What is said while an order is on its way to the units, and when the waiting has ended without them. */
import type { NodeRow } from '../../control/types.ts'
import type { DirectiveState } from '../../health/types.ts'
import { EXIT } from '../exit-codes.ts'
import { note, warn } from '../output.ts'
import { leaseLeft, leaseText } from './away.ts'
import type { AskNode } from './left.ts'
import { silentText, waitingText } from './progress.ts'
import { type Target, targetText } from './target.ts'
import { type Look, NOTHING_SEEN, type Waited } from './wait.ts'

/** An order that is followed within this needs no words about the way. */
const QUIET_MS = 1000

export interface Teller {
  look(look: Look): void
  stop(): void
}

/** Says who is waited for, after a second: on a terminal each time that it changes, elsewhere once. */
export const startTeller = (node: string): Teller => {
  let said = ''
  let seen = NOTHING_SEEN
  let isDue = false
  const say = (): void => {
    const text = `waiting for ${waitingText(seen.waiting, node)}`
    if (text === said || (said !== '' && process.stderr.isTTY !== true)) return
    said = text
    const silent = silentText(seen.waiting, seen.atMostMs)
    note(silent === '' ? text : `${text}; ${silent}`)
  }
  const timer = setTimeout(() => {
    isDue = true
    say()
  }, QUIET_MS)
  return {
    look: look => {
      seen = look
      if (isDue) say()
    },
    stop: () => clearTimeout(timer),
  }
}

export interface Explained {
  target: Target
  state: DirectiveState
  timeout: string
  nodes: readonly NodeRow[]
  ask: AskNode
}

/** The exit code, in words; nothing when all is done. */
export const explain = async (
  { settled, away, waiting, atMostMs }: Waited,
  { target, state, timeout, nodes, ask }: Explained,
): Promise<void> => {
  const name = targetText(target)
  const goesOn = state === 'active' ? 'the order is withdrawn' : 'the order stands'
  if (away !== null) {
    warn(`${away}; ${goesOn}, and is followed when the agent of ${target.node} is back`)
    note(leaseText(target.node, await leaseLeft(target.node, nodes, ask)))
    process.exitCode = EXIT.DEGRADED
  } else if (!settled) {
    const silent = silentText(waiting, atMostMs)
    warn(
      `${name} is not ${state} everywhere after ${timeout}: waiting for ${waitingText(waiting, target.node)}${silent === '' ? '' : `; ${silent}`}`,
    )
    const again = `shunt ${state === 'active' ? 'undrain' : 'drain'} ${name}${state === 'inactive' ? ' --inactive' : ''}`
    note(
      `${goesOn}, and the units go on to follow it; ${again} waits for them again, and names those that are missing`,
    )
    process.exitCode = EXIT.TIMEOUT
  }
}

/** After Ctrl-C: what goes on, and how to take it back. */
export const interruptedText = (target: Target, state: DirectiveState): string => {
  const name = targetText(target)
  return state === 'active'
    ? `stopped waiting; the order is withdrawn (shunt drain ${name} gives it again)`
    : `stopped waiting; ${name} goes on to become ${state} (shunt undrain ${name} takes that back)`
}

/** `null` after Ctrl-C. */
export const untilInterrupted = async (
  wait: (signal: AbortSignal) => Promise<Waited>,
  onInterrupt: () => void,
): Promise<Waited | null> => {
  const interrupted = new AbortController()
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal)
  try {
    return await wait(interrupted.signal)
  } catch (error) {
    if (!interrupted.signal.aborted) {
      note('the order is given all the same')
      throw error
    }
    onInterrupt()
    process.exitCode = EXIT.INTERRUPTED
    return null
  } finally {
    process.off('SIGINT', onSignal)
  }
}
