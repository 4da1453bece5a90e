/** What earlier runs have measured, from the files that they wrote by `--json`. */
import { readFileSync } from 'node:fs'
import { ShuntError } from '../../../src/errors.ts'
import type { Options } from './options.ts'
import type { Repetition } from './summary.ts'

/** What `--json` writes. */
export interface Report {
  readonly method: string
  readonly options: Options
  readonly results: readonly Repetition[]
}

const readReport = (file: string): Report => {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8')) as Partial<Report> | null
    if (Array.isArray(report?.results) && report.options !== undefined) return report as Report
  } catch (error) {
    throw new ShuntError('SHUNT_ERR_USAGE', `--report: ${error instanceof Error ? error.message : error}`)
  }
  throw new ShuntError('SHUNT_ERR_USAGE', `${file} is no report of this suite; --json of a run writes one`)
}

/**
 * The repetitions of several runs as those of one.
 * @throws ShuntError SHUNT_ERR_USAGE for a file that is no report, and for runs of different loads
 */
export const joinReports = (files: readonly string[]): Report => {
  const [first, ...more] = files.map(readReport)
  if (first === undefined) throw new ShuntError('SHUNT_ERR_USAGE', 'no report')
  const loadOf = ({ idle, active, holdMs }: Options): string =>
    `${idle} idle and ${active} active connections, faults of ${holdMs} ms`
  for (const { options } of more)
    if (loadOf(options) !== loadOf(first.options))
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `runs of different loads cannot be told together: ${loadOf(first.options)}; ${loadOf(options)}`,
      )
  const drivers = [...new Set([first, ...more].flatMap(({ options }) => options.drivers))]
  return {
    method: first.method,
    options: { ...first.options, drivers },
    results: [first, ...more].flatMap(({ results }) => results),
  }
}
