/** What the output of one test file says about its tests. */

export interface Counts {
  passed: number
  failed: number
  skipped: number
  /** `<name>: <reason>` of each skip. */
  skips: string[]
  /** Why the file counts as failed, beyond failed tests. */
  problem?: string
}

export interface Ended {
  output: string
  /** `null` when a signal ended it. */
  exitCode: number | null
  signal: string | null
  timedOut: boolean
}

const ANSI = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g')

const number = (text: string, label: string): number | undefined => {
  const all = [...text.matchAll(new RegExp(`^ {2}${label}: +(\\d+)$`, 'gm'))]
  const last = all.at(-1)?.[1]
  return last === undefined ? undefined : Number(last)
}

const problemOf = (ended: Ended, total: number | undefined, skips: number): string | undefined => {
  if (ended.timedOut) return 'timed out'
  if (ended.signal !== null) return `ended by ${ended.signal}`
  if (total === undefined && skips === 0)
    return ended.exitCode === 0 ? 'printed no summary' : `exit code ${ended.exitCode}, no summary`
  if (total === 0 && skips === 0) return 'has no tests'
  return ended.exitCode === 0 ? undefined : `exit code ${ended.exitCode}`
}

/**
 * Counts from uvu's summary and the `SKIP <name>: <reason>` lines. Doubt counts as failed: a file that times out,
 * crashes, has no tests or no summary has at least one failed test, and so does a skip that states no reason.
 */
export const countTests = (ended: Ended): Counts => {
  const text = ended.output.replace(ANSI, '')
  const skips = [...text.matchAll(/^SKIP (.+?: .+)$/gm)].map(match => match[1]!)
  const total = number(text, 'Total')
  const uvuSkipped = number(text, 'Skipped') ?? 0
  // A test that says SKIP and returns was counted as passed by uvu.
  const returned = Math.max(0, skips.length - uvuSkipped)
  const succeeded = number(text, 'Passed') ?? 0
  const passed = Math.max(0, succeeded - returned)
  let failed = Math.max(0, (total ?? 0) - succeeded)
  let problem = problemOf(ended, total, skips.length + uvuSkipped)
  if (problem !== undefined) failed = Math.max(1, failed)
  const unexplained = Math.max(0, uvuSkipped - skips.length)
  if (unexplained > 0) {
    failed += unexplained
    problem ??= `${unexplained} skipped without a reason (use test/support/skip.ts; is there a leftover .only?)`
  }
  return { passed, failed, skipped: skips.length, skips, ...(problem !== undefined && { problem }) }
}
