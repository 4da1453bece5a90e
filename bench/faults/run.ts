/**
 * The fault suite (`make faults`): what becomes of running connections while each part of a balancer fails in turn. Needs root. It ends with 0 when
 * it could measure, whatever that came to, and with 1 when a driver gave no result at all.
 */
import { writeFileSync } from 'node:fs'
import { errorText, ShuntError } from '../../src/errors.ts'
import { compileC } from '../../test/support/c-program.ts'
import { type Driver, type Fault, faultName, type Stage } from './contract.ts'
import { DRIVERS } from './drivers/index.ts'
import type { Outcome } from './lib/measure.ts'
import { type Options, readOptions, USAGE } from './lib/options.ts'
import { joinReports } from './lib/reports.ts'
import { type Load, runOne } from './lib/run-one.ts'
import type { Repetition } from './lib/summary.ts'
import { removeAbandoned } from './lib/topology.ts'
import { methodText, reportText } from './report.ts'

const AFTERMATH_MS = 2_000
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const progress = (text: string): void => void process.stderr.write(`${text}\n`)

const told = ({ brokenIdle, brokenActive, own, stallMs, newHeldMs, causes }: Outcome): string => {
  const why = Object.entries(causes).map(([cause, count]) => `${count} ${cause}`)
  return [
    `${brokenIdle + brokenActive} broken${why.length === 0 ? '' : ` (${why.join(', ')})`}`,
    ...(own === 0 ? [] : [`${own} of the lost host`]),
    `stall ${Math.round(stallMs)} ms, new held ${Math.round(newHeldMs)} ms`,
  ].join(', ')
}

/** All faults of one driver once, each on what the one before has left; on a new lab after one that left something else. */
class Turn {
  readonly #driver: Driver
  readonly #load: Load
  readonly #options: Options
  #stage: Stage | null = null

  constructor(driver: Driver, load: Load, options: Options) {
    this.#driver = driver
    this.#load = load
    this.#options = options
  }

  async #up(): Promise<Stage> {
    this.#stage ??= await this.#driver.up({
      connections: this.#load.idle + this.#load.active,
      program: this.#load.program,
      say: text => progress(`${this.#driver.name}: ${text}`),
    })
    return this.#stage
  }

  async down(): Promise<void> {
    const stage = this.#stage
    this.#stage = null
    await stage?.down()
  }

  async #one(number: number): Promise<Repetition> {
    const stage = await this.#up()
    const fault = stage.faults[number]!
    const { component, way } = fault
    try {
      const outcome = await runOne(stage, fault, this.#load)
      progress(`${this.#driver.name}: ${faultName(fault)}: ${told(outcome)}`)
      return { driver: this.#driver.name, component, way, outcome, error: null }
    } catch (error) {
      progress(`${this.#driver.name}: ${faultName(fault)}: no result: ${errorText(error)}`)
      // Nobody knows what it left.
      await this.down()
      return { driver: this.#driver.name, component, way, outcome: null, error: errorText(error) }
    }
  }

  async all(onResult: (result: Repetition) => void): Promise<void> {
    const wanted = (fault: Fault): boolean =>
      this.#options.only.length === 0 || this.#options.only.some(text => faultName(fault).includes(text))
    try {
      const { faults } = await this.#up()
      for (const [number, fault] of faults.entries()) if (wanted(fault)) onResult(await this.#one(number))
    } finally {
      await this.down()
    }
  }
}

const main = async (): Promise<void> => {
  const options = readOptions(process.argv.slice(2), process.env)
  if (options.reports.length > 0) {
    const { options: earlier, results } = joinReports(options.reports)
    return say(reportText(results, earlier, new Map()))
  }
  for (const name of await removeAbandoned()) progress(`removed lab ${name} of a suite that was killed`)
  const skipped = new Map<string, string>()
  const drivers = DRIVERS.filter(({ name }) => options.drivers.includes(name)).filter(driver => {
    const why = driver.missing()
    if (why !== undefined) skipped.set(driver.name, why)
    return why === undefined
  })
  for (const [name, why] of skipped) progress(`skipped ${name}: ${why}`)
  const method = methodText(options, drivers)
  say(method)
  const results: Repetition[] = []
  const program = compileC(
    new URL('c/flows.c', import.meta.url).pathname,
    new URL('c', import.meta.url).pathname,
  )
  process.on('exit', () => program[Symbol.dispose]())
  const load = { ...options, aftermathMs: AFTERMATH_MS, program: program.path }
  for (let round = 0; round < options.repeat; round++)
    for (const driver of drivers) {
      progress(`round ${round + 1} of ${options.repeat}: ${driver.name}`)
      await new Turn(driver, load, options).all(result => {
        results.push(result)
        // What was measured is there also when this is ended in the middle.
        if (options.json !== undefined)
          writeFileSync(options.json, `${JSON.stringify({ method, options, results }, null, 1)}\n`)
      })
    }
  say(reportText(results, options, skipped))
  const silent = drivers.find(({ name }) => !results.some(r => r.driver === name && r.outcome !== null))
  if (silent !== undefined)
    throw new ShuntError(
      'SHUNT_ERR_LAB',
      `${silent.name} gave no result; --only may name no fault that it knows`,
    )
}

// Ends by the handlers of `exit`, which remove everything.
for (const [signal, code] of Object.entries({ SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }))
  process.on(signal, () => process.exit(code))
try {
  await main()
} catch (error) {
  process.stderr.write(
    `${errorText(error)}\n${(error as ShuntError).code === 'SHUNT_ERR_USAGE' ? USAGE : ''}`,
  )
  process.exitCode = 1
}
