/** Looking at something again and again, until Ctrl-C ends the watching (and never what is watched). */
import { setTimeout as delay } from 'node:timers/promises'
import { errorText } from '../errors.ts'
import { EXIT } from './exit-codes.ts'
import { note, stdoutGone, warn } from './output.ts'

export interface Watching {
  /** Between two looks, and between two attempts, in milliseconds. */
  everyMs: number
  /** One look, or a stream of them; calls `heard` whenever the agent has answered. */
  look(signal: AbortSignal, heard: () => void): Promise<void>
  /** Whether to try again after this failure of `look`. */
  mayReturn(error: unknown): boolean
}

/**
 * Looks until Ctrl-C, or until nobody reads stdout any more; says once when the agent has gone away. Sets the exit code.
 * @throws the failure of a look that may not return
 */
export const watchUntilStopped = async ({ everyMs, look, mayReturn }: Watching): Promise<void> => {
  const interrupted = new AbortController()
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal)
  const signal = AbortSignal.any([interrupted.signal, stdoutGone])
  let away = false
  const heard = (): void => {
    away = false
  }
  try {
    while (!signal.aborted) {
      try {
        await look(signal, heard)
      } catch (error) {
        if (!mayReturn(error)) throw error
        if (!away) warn(`${errorText(error)} (still watching)`)
        away = true
      }
      await delay(everyMs, undefined, { signal })
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    process.off('SIGINT', onSignal)
  }
  if (!interrupted.signal.aborted) return
  note('stopped watching; the agent goes on')
  process.exitCode = EXIT.INTERRUPTED
}
