/** Arguments and flags of drain and undrain. */
import { Args, Flags } from '@oclif/core'
import { ShuntError } from '../../errors.ts'
import { parseDuration } from '../duration.ts'
import { type OperatorFlags, operatorFlags } from '../operator.ts'

const DEFAULT_TIMEOUT = '60s'
const MIN_MS = 100
const MAX_MS = 86_400_000

export const directiveArgs = {
  target: Args.string({
    description: 'A host (all that it serves), or a host and a service: h1, h1/web.',
    required: true,
  }),
}

export const directiveFlags = {
  ...operatorFlags,
  wait: Flags.boolean({
    description: 'Wait until the host and all units follow; --no-wait does not.',
    default: true,
    allowNo: true,
  }),
  timeout: Flags.string({
    description: 'Wait at most so long: milliseconds, or a time such as 30s.',
    default: DEFAULT_TIMEOUT,
    helpValue: 'TIME',
  }),
}

export interface DirectiveFlags extends OperatorFlags {
  wait: boolean
  timeout: string
}

const usage = (message: string): ShuntError => new ShuntError('SHUNT_ERR_USAGE', message)

/** Milliseconds. @throws ShuntError SHUNT_ERR_USAGE */
export const timeoutOf = (text: string): number => {
  if (text.trim() === '') throw usage('--timeout is empty: write a time, such as 30s')
  return parseDuration(/^\d+$/.test(text) ? `${text}ms` : text, '--timeout', MIN_MS, MAX_MS)
}

/** A flag as it was typed, as the command library tells it. */
interface Typed {
  type: string
  flag?: string
  input?: string
}

/**
 * The library takes the last of two that contradict each other.
 * @throws ShuntError SHUNT_ERR_USAGE
 */
export const checkFlags = (typed: readonly Typed[]): void => {
  const given = typed.filter(({ type, flag }) => type === 'flag' && (flag === 'wait' || flag === 'timeout'))
  const has = (input: string): boolean => given.some(each => each.input === input)
  if (!has('--no-wait')) return
  if (has('--wait')) throw usage('--wait and --no-wait contradict each other: give one of them')
  if (given.some(({ flag }) => flag === 'timeout'))
    throw usage('--timeout is for waiting, and --no-wait does not wait: give one of them')
}
