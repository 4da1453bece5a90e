/**
 * The test runner: `scripts/test.ts [unit|sim|lab|PATH...] [--coverage] [--jobs N]`.
 * One process a file, a line a file, the whole output of a failed one, and last: `N passed, N failed[, N skipped]`.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Counts, countTests } from './test/count.ts'
import { runFile, stopAll } from './test/run.ts'
import { selectTests, type TestFile } from './test/select.ts'

const ROOT = join(import.meta.dirname, '..')
const COVERAGE = join(ROOT, 'coverage')
const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { coverage: { type: 'boolean', default: false }, jobs: { type: 'string' } },
})

const env: NodeJS.ProcessEnv = { ...process.env }
if (options.coverage) {
  rmSync(COVERAGE, { recursive: true, force: true })
  mkdirSync(join(COVERAGE, 'tmp'), { recursive: true })
  env.NODE_V8_COVERAGE = join(COVERAGE, 'tmp')
}

const results = new Map<TestFile, Counts>()
const runOne = async (file: TestFile): Promise<void> => {
  const ended = await runFile(ROOT, file, env)
  const counts = countTests(ended)
  results.set(file, counts)
  const parts = [
    `${counts.passed} passed`,
    `${counts.failed} failed`,
    `${counts.skipped} skipped`,
    `${ended.seconds.toFixed(1)} s`,
  ]
  say(
    `${counts.failed > 0 ? 'FAIL' : 'ok  '} ${file.path}: ${parts.join(', ')}${counts.problem ? ` (${counts.problem})` : ''}`,
  )
  if (counts.failed > 0) say(`--- output of ${file.path}\n${ended.output.trimEnd()}\n---`)
}

const runAll = async (files: readonly TestFile[], jobs: number): Promise<void> => {
  const queue = files.filter(f => f.parallel)
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      for (let file = queue.shift(); file !== undefined; file = queue.shift()) await runOne(file)
    }),
  )
  for (const file of files.filter(f => !f.parallel)) await runOne(file)
}

const reportCoverage = (): void => {
  const c8 = join(ROOT, 'node_modules/c8/bin/c8.js')
  const args = [
    c8,
    'report',
    '--temp-directory',
    join(COVERAGE, 'tmp'),
    '--include',
    'src/**',
    '--all',
    '--src',
    'src',
    '--extension',
    '.ts',
  ]
  spawnSync(
    process.execPath,
    [...args, '--reporter', 'text', '--reporter', 'html', '--reporter', 'lcovonly'],
    {
      cwd: ROOT,
      stdio: 'inherit',
    },
  )
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    stopAll()
    process.exit(signal === 'SIGINT' ? 130 : 143)
  })

let files: TestFile[] = []
try {
  files = selectTests(ROOT, positionals)
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`)
  process.exit(2)
}
await runAll(files, Math.max(1, Number(options.jobs) || availableParallelism()))
if (options.coverage) reportCoverage()
const all = [...results.values()]
const sum = (key: 'passed' | 'failed' | 'skipped'): number => all.reduce((n, c) => n + c[key], 0)
for (const skip of all.flatMap(c => c.skips)) say(`skipped ${skip}`)
const failed = sum('failed') + (files.length === 0 ? 1 : 0)
say(`${sum('passed')} passed, ${failed} failed${sum('skipped') > 0 ? `, ${sum('skipped')} skipped` : ''}`)
process.exitCode = failed > 0 ? 1 : 0
