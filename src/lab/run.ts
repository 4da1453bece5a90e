/** Running programs for the lab: one shot, with all output kept and a bound on time. */
import { spawn } from 'node:child_process'
import { ShuntError } from '../errors.ts'
import { endProcesses, identify, type ProcessId } from './processes.ts'

export interface RunResult {
  /** Exit code; 128 + signal number when a signal ended it, 124 when `timeoutMs` did. */
  code: number
  stdout: string
  stderr: string
}

export interface RunOptions {
  input?: string | Buffer
  /** Default 60 s. */
  timeoutMs?: number
  env?: NodeJS.ProcessEnv
}

const SIGNAL_CODES: Record<string, number> = {
  SIGHUP: 129,
  SIGINT: 130,
  SIGKILL: 137,
  SIGPIPE: 141,
  SIGTERM: 143,
}
export const exitCode = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? SIGNAL_CODES[signal ?? ''] ?? 128

/** What runs now: a clean-up in the middle must end it first, or it would go on building. */
const running = new Set<ProcessId>()
export const endRunning = (): void => endProcesses(() => [...running], 0)

/** Never rejects for the program's own failure; only when it cannot be started. */
export const run = (argv: string[], options: RunOptions = {}): Promise<RunResult> =>
  new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), {
      env: options.env ?? process.env,
      stdio: 'pipe',
    })
    const id = child.pid === undefined ? null : identify(child.pid)
    if (id !== null) running.add(id)
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, options.timeoutMs ?? 60_000)
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', chunk => out.push(chunk))
    child.stderr.on('data', chunk => err.push(chunk))
    child.on('error', error => {
      clearTimeout(timer)
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
      reject(
        missing
          ? new ShuntError('SHUNT_ERR_LAB', `${argv[0]} is not installed; a lab needs it`, { cause: error })
          : error,
      )
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (id !== null) running.delete(id)
      resolve({
        code: timedOut ? 124 : exitCode(code, signal),
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      })
    })
    // A program that ends without reading its input is judged by its exit code, not by the broken pipe.
    child.stdin.on('error', () => {})
    child.stdin.end(options.input)
  })

/** @throws ShuntError SHUNT_ERR_LAB with what the program said, when it fails. */
export const mustRun = async (argv: string[], options: RunOptions = {}): Promise<string> => {
  const { code, stdout, stderr } = await run(argv, options)
  if (code === 0) return stdout
  const said = (stderr.trim() || stdout.trim()).split('\n').slice(-5).join('\n')
  throw new ShuntError('SHUNT_ERR_LAB', `${argv.join(' ')} failed (exit code ${code}): ${said}`)
}

/** Waits for all, also after one has failed: nothing is still being built when its failure is known. */
export const settleAll = async (all: Promise<unknown>[]): Promise<void> => {
  for (const settled of await Promise.allSettled(all)) if (settled.status === 'rejected') throw settled.reason
}
