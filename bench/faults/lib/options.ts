/** What the suite is asked for. */
import { parseArgs } from 'node:util'
import { ShuntError } from '../../../src/errors.ts'
import { DRIVERS } from '../drivers/index.ts'

export interface Options {
  readonly idle: number
  readonly active: number
  readonly repeat: number
  readonly holdMs: number
  readonly drivers: readonly string[]
  /** Faults whose name has one of these in it; empty: all. */
  readonly only: readonly string[]
  readonly json: string | undefined
  /** Files of earlier runs to be told together; with any, nothing is measured. */
  readonly reports: readonly string[]
}

export const USAGE = `bench/faults/run.ts [--quick] [--repeat N] [--hold MS] [--driver NAME]... [--only TEXT]... [--json FILE]
       bench/faults/run.ts --report FILE...
  --quick    1,000 idle and 50 active connections, twice (10,000 and 200, five times; or as FLOWS, ACTIVE and REPEAT in the environment say)
  --hold     how long a fault stands, in ms (5000)
  --driver   of ${DRIVERS.map(({ name }) => name).join(', ')} (all)
  --only     faults with this in their name, such as "host node" or frozen (all)
  --json     all that was measured, of each repetition, into a file
  --report   a file that --json wrote; the table of all that such files hold, nothing is measured
`

const whole = (what: string, text: string, least: number, most: number): number => {
  const value = Number(text)
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new ShuntError('SHUNT_ERR_USAGE', `${what} is a whole number of ${least} to ${most}, not ${text}`)
}

/** @throws ShuntError SHUNT_ERR_USAGE */
export const readOptions = (argv: readonly string[], env: NodeJS.ProcessEnv): Options => {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      quick: { type: 'boolean', default: false },
      repeat: { type: 'string' },
      hold: { type: 'string', default: '5000' },
      driver: { type: 'string', multiple: true, default: [] },
      only: { type: 'string', multiple: true, default: [] },
      json: { type: 'string' },
      report: { type: 'string', multiple: true, default: [] },
    },
  })
  const usual = values.quick
    ? { idle: '1000', active: '50', repeat: '2' }
    : { idle: '10000', active: '200', repeat: '5' }
  const names = DRIVERS.map(({ name }) => name)
  const unknown = values.driver.find(name => !names.includes(name))
  if (unknown !== undefined)
    throw new ShuntError('SHUNT_ERR_USAGE', `there is no driver ${unknown}; there are ${names.join(', ')}`)
  return {
    // A process may have 20,000 files on many machines: two processes hold the connections, and new ones come beside them.
    idle: whole('FLOWS', env.FLOWS ?? usual.idle, 1, 15_000),
    active: whole('ACTIVE', env.ACTIVE ?? usual.active, 1, 2_000),
    repeat: whole('--repeat', values.repeat ?? env.REPEAT ?? usual.repeat, 1, 1_000),
    holdMs: whole('--hold', values.hold, 500, 600_000),
    drivers: values.driver.length === 0 ? names : names.filter(name => values.driver.includes(name)),
    only: values.only,
    json: values.json,
    reports: values.report,
  }
}
