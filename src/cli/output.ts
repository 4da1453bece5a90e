/** Data goes to standard output, progress and warnings to standard error; a reader that goes away is no error. */
import { styleText } from 'node:util'
import { type Envelope, ERROR_SCHEMA, type ErrorEnvelope } from '../control/types.ts'
import { errorText } from '../errors.ts'
import { oneLine, plain, plainJson } from '../plain-text.ts'
import { errorCodeOf } from './exit-codes.ts'

const gone = new AbortController()
/** Aborted once nobody reads standard output any more (`shunt flows | head`). */
export const stdoutGone: AbortSignal = gone.signal

/** Call once, first: without it a closed pipe ends the process with a stack trace. */
export const tolerateClosedPipes = (): void => {
  const swallow = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') throw error
    gone.abort()
  }
  process.stdout.on('error', swallow)
  process.stderr.on('error', swallow)
}

export const print = (text: string): void => {
  if (!gone.signal.aborted) process.stdout.write(text.endsWith('\n') || text === '' ? text : `${text}\n`)
}

/** A text that must be exact where a program reads it, and harmless where a terminal shows it. */
export const printExact = (text: string): void => print(process.stdout.isTTY === true ? plain(text) : text)

/** Progress and remarks. Names and sentences come from other machines: nothing in them may move the cursor. */
export const note = (text: string): void => {
  process.stderr.write(`${plain(text)}\n`)
}

export const warn = (text: string): void => note(`warning: ${oneLine(text)}`)

/** Whether the screen can be redrawn. */
export const isInteractive = (): boolean => process.stdout.isTTY === true && process.env.TERM !== 'dumb'

const STYLES = { good: 'green', bad: 'red', odd: 'yellow', head: 'bold', dim: 'dim' } as const
/** Colour is never the only signal; it is left out off a terminal, with NO_COLOR and on dumb terminals. */
export const paint = (style: keyof typeof STYLES, text: string): string =>
  styleText(STYLES[style], text, { stream: process.stdout })

export const json = (value: unknown, pretty: boolean): string =>
  plainJson(`${JSON.stringify(value, null, pretty ? 2 : undefined)}\n`)

/** An envelope for what a command knows by itself, without an agent. */
export const localEnvelope = <T>(schema: string, data: T, node = '-'): Envelope<T> => ({
  schema,
  node,
  time: new Date().toISOString(),
  data,
})

const messageOf = (error: unknown): string => {
  const text = errorText(error)
  return errorCodeOf(error) === 'SHUNT_ERR_USAGE' ? text.replace(/\s*\n\s*/g, ' ').trim() : text.trim()
}

/**
 * Says what went wrong: text on standard error and, with --json, an envelope on standard output too.
 * `command` is the command that was asked for (`config check`), if it is known.
 */
export const printError = (error: unknown, asJson: boolean, command?: string): void => {
  const code = errorCodeOf(error)
  const message = messageOf(error)
  if (asJson) {
    const envelope: ErrorEnvelope = { schema: ERROR_SCHEMA, error: { code, message } }
    print(json(envelope, false))
  }
  for (const line of message.split('\n')) note(`error: ${line}`)
  note(`code: ${code}`)
  if (code === 'SHUNT_ERR_USAGE' && command !== undefined) note(`see shunt ${command} --help`)
  if (
    error instanceof Error &&
    error.stack !== undefined &&
    (process.env.SHUNT_DEBUG !== undefined || code === 'SHUNT_ERR_INTERNAL')
  )
    note(error.stack)
}
