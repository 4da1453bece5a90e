/** What is said while an order is on its way to the units, and when the waiting has ended without them. */
import type { DirectiveState } from '../../health/types.ts'
import { EXIT } from '../exit-codes.ts'
import { note, warn } from '../output.ts'
import { waitingText } from './progress.ts'
import { type Target, targetText } from './target.ts'
import type { Look, Waited } from './wait.ts'

/** Says who is waited for, each time that it changes; nothing where nobody looks. */
export const teller = (node: string): ((look: Look) => void) => {
  let said = ''
  return ({ waiting }) => {
    const text = `waiting for ${waitingText(waiting, node)}`
    if (text === said || process.stderr.isTTY !== true) return
    said = text
    note(text)
  }
}

/** The exit code, in words; nothing when all is done. */
export const explain = (
  { settled, away, waiting }: Waited,
  target: Target,
  state: DirectiveState,
  timeout: string,
): void => {
  const name = targetText(target)
  const goesOn = state === 'active' ? 'the order is withdrawn' : 'the order stands'
  if (away !== null) {
    warn(`${goesOn}, and is followed when the agent of ${target.node} is back: ${away}`)
    process.exitCode = EXIT.DEGRADED
  } else if (!settled) {
    warn(
      `${name} is not ${state} everywhere after ${timeout}: waiting for ${waitingText(waiting, target.node)}`,
    )
    note(`${goesOn}, and the units go on to follow it; shunt hosts -o wide shows how far they are`)
    process.exitCode = EXIT.TIMEOUT
  }
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
