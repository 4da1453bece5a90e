/** Exit codes of every command (shunt(1), EXIT STATUS). */
import { type ErrorCode, ShuntError } from '../errors.ts'

export const EXIT = {
  OK: 0,
  FAILED: 1,
  USAGE: 2,
  /** Answered, but not all is well. */
  DEGRADED: 3,
  UNREACHABLE: 4,
  /** Refused by a safety rule. */
  GUARD: 5,
  TIMEOUT: 124,
  INTERRUPTED: 130,
} as const

const BY_ERROR: Partial<Record<ErrorCode, number>> = {
  SHUNT_ERR_USAGE: EXIT.USAGE,
  SHUNT_ERR_CONTROL_UNREACHABLE: EXIT.UNREACHABLE,
  SHUNT_ERR_GUARD: EXIT.GUARD,
  SHUNT_ERR_CONFLICT: EXIT.GUARD,
  SHUNT_ERR_TIMEOUT: EXIT.TIMEOUT,
}

/** What the command library attaches to its errors. */
interface OclifError {
  oclif?: { exit?: number }
  code?: string
}

/** A command that only wants to end with an exit code (`this.exit(n)`). */
export const isPlainExit = (error: unknown): boolean =>
  error instanceof Error && (error as OclifError).code === 'EEXIT'

/** The stable code of whatever was thrown. */
export const errorCodeOf = (error: unknown): ErrorCode => {
  if (error instanceof ShuntError) return error.code
  // The command library throws errors of its own only for a wrong command line.
  return (error as OclifError | undefined)?.oclif?.exit === undefined
    ? 'SHUNT_ERR_INTERNAL'
    : 'SHUNT_ERR_USAGE'
}

export const exitCodeOf = (error: unknown): number => {
  if (isPlainExit(error)) return (error as OclifError).oclif?.exit ?? EXIT.FAILED
  return BY_ERROR[errorCodeOf(error)] ?? EXIT.FAILED
}
