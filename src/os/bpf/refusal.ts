/** What the kernel's refusal of an object means to whoever runs shunt. Pure. */
import { ShuntError } from '../../errors.ts'
import { errnoSymbol } from '../ffi.ts'
import type { LastTried } from './loader.ts'

const LINES = 8
/** Statistics that end each log. */
const NOISE = /^(processed \d+ insns|verification time|stack depth|mark_precise|max_states|\s*$)/

/** The last lines of a verifier's log that say something: where it was and what it did not like. */
export const lastWords = (log: Uint8Array): string[] => {
  const end = log.indexOf(0)
  const text = Buffer.from(log.subarray(0, end < 0 ? log.length : end)).toString('latin1')
  return text
    .split('\n')
    .filter(line => !NOISE.test(line))
    .slice(-LINES)
}

const HINTS: Record<string, string> = {
  EPERM: 'run as root, or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN',
  ENOMEM: 'there is not enough memory: use smaller tables, or raise the memory limit of the service',
  E2BIG: 'it is too large for this kernel',
  EINVAL: 'this kernel (see `uname -r`) may be too old for it',
  EACCES: 'this is a defect of shunt or of this kernel: please report it with these lines',
}

/** The error for an object that the loader could not load: `last` is what failed. */
export const refusal = (object: string, number: number, last: LastTried, log: Uint8Array): ShuntError => {
  const symbol = errnoSymbol(number)
  const what = last.kind === 'types' ? 'the types' : `the ${last.kind} ${last.name}`
  const words = last.kind === 'program' ? lastWords(log) : []
  const hint = HINTS[symbol] ?? 'use the nftables data plane meanwhile'
  return new ShuntError(
    symbol === 'EPERM' ? 'SHUNT_ERR_CAPABILITY' : 'SHUNT_ERR_DATAPLANE',
    `the kernel refused ${what} of the BPF object ${object}: ${symbol}; ${hint}${words.map(line => `\n  ${line}`).join('')}`,
  )
}
