/** Which test files to run, and how. */
import { globSync, readFileSync, statSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

export interface TestFile {
  /** Relative to the root of the project. */
  path: string
  /** `unit`, `sim` or `lab`. */
  kind: string
  /** Runs beside others; a lab file does only when its name has `.parallel.`, or a comment line `// test-beside-others` in it. */
  parallel: boolean
  timeoutMs: number
}

export const KINDS = ['unit', 'sim', 'lab'] as const
/** What hangs is ended; a machine that is busy with something else only takes longer. */
const TIMEOUT_MS: Record<string, number> = { unit: 180_000, sim: 300_000, lab: 300_000 }

/** A file may set its own time-out by a comment line: `// test-timeout-ms: 600000`. */
const ownTimeout = (text: string): number | undefined => {
  const match = /^\/\/ test-timeout-ms: (\d+)$/m.exec(text)
  return match === null ? undefined : Number(match[1])
}

/** Labs that mostly wait, and that neither measure nor look at the whole machine, say so. */
const standsOthers = (path: string, text: string): boolean =>
  path.includes('.parallel.') || /^\/\/ test-beside-others$/m.test(text)

const kindOf = (path: string): string => /^test\/(\w+)\//.exec(path)?.[1] ?? 'unit'

const describe = (root: string, path: string): TestFile => {
  const kind = kindOf(path)
  const text = readFileSync(join(root, path), 'utf8')
  return {
    path,
    kind,
    parallel: kind !== 'lab' || standsOthers(path, text),
    timeoutMs: ownTimeout(text) ?? TIMEOUT_MS[kind] ?? TIMEOUT_MS.unit!,
  }
}

/** First what runs beside others, labs among it last: those are not for the busiest hour. Of each the longest first, so that nobody waits for one at the end. */
const rank = ({ kind, parallel }: TestFile): number => (parallel ? (kind === 'lab' ? 1 : 0) : 2)

/**
 * The files that the arguments (kinds, directories or files; none means all) select, parallel ones first.
 * @throws Error for an argument that selects nothing
 */
export const selectTests = (root: string, args: readonly string[]): TestFile[] => {
  const all = (args.length === 0 ? ['test'] : args).flatMap(arg => {
    const path = (KINDS as readonly string[]).includes(arg) ? join(root, 'test', arg) : resolve(arg)
    const stat = statSync(path, { throwIfNoEntry: false })
    const isKind = arg !== path && (KINDS as readonly string[]).includes(arg)
    if (stat === undefined && !isKind) throw new Error(`${arg} does not exist`)
    const found = stat?.isFile() ? [path] : globSync('**/*.test.ts', { cwd: path }).map(f => join(path, f))
    if (found.length === 0 && args.length > 0) throw new Error(`${arg} has no tests (*.test.ts)`)
    return found
  })
  const files = [...new Set(all)].sort().map(path => describe(root, relative(root, path)))
  return files.sort((a, b) => rank(a) - rank(b) || b.timeoutMs - a.timeoutMs)
}
