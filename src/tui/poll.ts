/** Looks at the agent again and again, one look at a time. */
import { pathAt } from '../cli/path-at.ts'
import { get } from '../control/client.ts'
import { errorText, ShuntError } from '../errors.ts'
import { look, type Wants } from './looks.ts'
import type { UiEvent } from './model.ts'

/** An agent that needs longer is shown as away; the next look tries again. */
const PATIENCE_MS = 3_000

export interface PollOptions {
  socket: string
  /** Whose agent is asked, by way of that of the socket. */
  node?: string | undefined
  intervalMs: number
  wants(): Wants
  isPaused(): boolean
  dispatch(event: UiEvent): void
  /** Ends the polling. */
  signal: AbortSignal
}

export interface Poll {
  /** A look now, or right after the one under way. */
  now(): void
  /** Settles when the signal has ended the polling; rejects with a defect. */
  done: Promise<void>
}

const lookOnce = async (options: PollOptions): Promise<UiEvent | null> => {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(PATIENCE_MS)])
  try {
    const seen = await look(
      path => get(options.socket, pathAt(path, options.node), signal),
      options.wants(),
      () => performance.now(),
    )
    return { on: 'look', look: seen }
  } catch (error) {
    if (options.signal.aborted) return null
    if (signal.aborted)
      return { on: 'away', why: `no answer in ${PATIENCE_MS / 1000} s on ${options.socket}` }
    if (error instanceof ShuntError) return { on: 'away', why: errorText(error) }
    throw error
  }
}

export const startPoll = (options: PollOptions): Poll => {
  let wanted = false
  let wake = (): void => {}
  const rest = (): Promise<void> =>
    new Promise(resolve => {
      const timer = options.isPaused() ? undefined : setTimeout(resolve, options.intervalMs)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  const run = async (): Promise<void> => {
    while (!options.signal.aborted) {
      wanted = false
      const event = await lookOnce(options)
      if (event !== null && !options.signal.aborted) options.dispatch(event)
      if (!wanted && !options.signal.aborted) await rest()
    }
  }
  const now = (): void => {
    wanted = true
    wake()
  }
  options.signal.addEventListener('abort', () => wake())
  return { now, done: run() }
}
