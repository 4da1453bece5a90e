import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The C compiler of this machine, or null. */
export const compiler = (): string | null =>
  ['cc', 'gcc', 'clang'].find(name => spawnSync(name, ['--version']).status === 0) ?? null

export interface CProgram {
  readonly path: string
  readonly run: (args: readonly string[], input?: Uint8Array) => { status: number | null; output: Buffer }
  readonly [Symbol.dispose]: () => void
}

/**
 * Compiles one file for this machine. `headers`: contents by name that go before those of `include`.
 * Throws with the compiler's words when it does not compile.
 */
export const compileC = (
  source: string,
  include: string,
  headers: Readonly<Record<string, string>> = {},
): CProgram => {
  const directory = mkdtempSync(join(tmpdir(), 'shunt-c-'))
  for (const [name, text] of Object.entries(headers)) writeFileSync(join(directory, name), text)
  const program = join(directory, 'program')
  const flags = [
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-Wno-unknown-pragmas',
    '-pthread',
    '-I',
    directory,
    '-I',
    include,
  ]
  const { status, stderr } = spawnSync(compiler() ?? 'cc', [...flags, source, '-o', program])
  if (status !== 0) {
    rmSync(directory, { recursive: true })
    throw new Error(`${source} does not compile: ${stderr}`)
  }
  return {
    path: program,
    run: (args, input) => {
      const done = spawnSync(program, args, { input, maxBuffer: 1 << 28, timeout: 60_000 })
      return { status: done.status, output: done.stdout }
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  }
}
