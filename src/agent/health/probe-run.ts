/** What one probe is: it ends by itself or is ended by its signal, and never fails otherwise than by its outcome. */
import { errorText } from '../../errors.ts'
import type { CheckTarget } from '../../health/probe/target.ts'

export interface ProbeOutcome {
  readonly ok: boolean
  /** A short sentence, such as `status 503`. */
  readonly why: string
}

/** `signal` aborts when the time is over or the result is not wanted any more; everything is closed by then. */
export type ProbeRun = (target: CheckTarget, signal: AbortSignal) => Promise<ProbeOutcome>

export const good = (why: string): ProbeOutcome => ({ ok: true, why })
export const bad = (why: string): ProbeOutcome => ({ ok: false, why })

const KNOWN: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to the address',
  ENETUNREACH: 'no route to the address',
  ETIMEDOUT: 'no answer',
  EADDRNOTAVAIL: 'the address is not one of this machine',
  ENOENT: 'no such program',
  EACCES: 'not permitted',
  HPE_HEADER_OVERFLOW: 'the header of the answer is too large',
}

/** Others choose this text, and a terminal may show it. At most 200 characters. */
export const plain = (text: string): string =>
  text
    .replace(/\s+/g, ' ')
    .replace(/[^\x20-\x7e]/g, '?')
    .trim()
    .slice(0, 200)

/** The text of a failed system call or protocol. */
export const failureText = (error: unknown): string => {
  const code = (error as { code?: unknown }).code
  const known = typeof code === 'string' ? KNOWN[code] : undefined
  return known ?? plain(errorText(error))
}
