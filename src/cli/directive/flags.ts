/** Arguments and flags of drain and undrain. */
import { Args, Flags } from '@oclif/core'
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

/** Milliseconds. @throws ShuntError SHUNT_ERR_USAGE */
export const timeoutOf = (text: string): number =>
  parseDuration(/^\d+$/.test(text) ? `${text}ms` : text, '--timeout', MIN_MS, MAX_MS)
