/**
 * Compiles the BPF programs: `scripts/bpf.ts [--accept]`. Each src/agent/dataplane/xdp/bpf/<name>.bpf.c becomes
 * dist/bpf/<name>.json (what the agent loads) and must have the layout that TypeScript knows, in
 * src/agent/dataplane/xdp/layout/<name>.ts; with --accept that file is written instead.
 */
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { compileBpf, missingTools } from './bpf/compile.ts'
import { moduleDifferences, moduleText } from './bpf/module.ts'

const ROOT = join(import.meta.dirname, '..')
const SOURCES = join(ROOT, 'src/agent/dataplane/xdp/bpf')
const LAYOUTS = join(ROOT, 'src/agent/dataplane/xdp/layout')
const OUT = join(ROOT, 'dist/bpf')
const STAMP = join(OUT, '.stamp')

const accept = process.argv.includes('--accept')
const note = (text: string): void => {
  process.stderr.write(`bpf: ${text}\n`)
}

/** Whether the layout is the known one; otherwise says what differs. */
const checkLayout = (name: string, text: string): boolean => {
  const path = join(LAYOUTS, `${name}.ts`)
  const known = existsSync(path) ? readFileSync(path, 'utf8') : ''
  if (known === text) return true
  if (accept) {
    mkdirSync(LAYOUTS, { recursive: true })
    writeFileSync(path, text)
    note(`wrote ${relative(ROOT, path)}`)
    return true
  }
  note(`${name}.bpf.c does not have the layout that ${relative(ROOT, path)} says:`)
  for (const line of moduleDifferences(known, text).slice(0, 40)) note(`  ${line}`)
  return false
}

const main = (): number => {
  const missing = missingTools()
  if (missing.length > 0) {
    rmSync(STAMP, { force: true })
    note(
      `${missing.join(', ')} missing: this build has no XDP data plane; run make setup as root to install them`,
    )
    return 0
  }
  mkdirSync(OUT, { recursive: true })
  const sources = globSync('*.bpf.c', { cwd: SOURCES }).sort()
  let same = true
  for (const source of sources) {
    const name = basename(source, '.bpf.c')
    const { file, layout } = compileBpf(join(SOURCES, source), SOURCES, join(OUT, 'work'))
    same = checkLayout(name, moduleText(name, source, layout)) && same
    writeFileSync(join(OUT, `${name}.json`), file)
  }
  for (const stale of globSync('*.json', { cwd: OUT }))
    if (!sources.includes(stale.replace(/json$/, 'bpf.c'))) rmSync(join(OUT, stale))
  if (!same) {
    rmSync(STAMP, { force: true })
    note('if that is intended: make bpf-layouts, then follow the type checker through what reads it')
    return 1
  }
  writeFileSync(STAMP, '')
  return 0
}

try {
  process.exitCode = main()
} catch (error) {
  note(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}
