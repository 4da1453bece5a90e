/** Runs one test file in a process group of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Ended } from './count.ts'
import type { TestFile } from './select.ts'

/** After the time-out a file has this long to remove what it made. */
const GRACE_MS = 10_000
/** More output than this is cut in the middle of the run. */
const MAX_OUTPUT = 16 * 1024 * 1024

const running = new Set<ChildProcess>()

/** Signals the group that the child leads, and nothing else. */
const signalGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // The group is gone.
  }
}

/** Ends what still runs; for an interrupted run. */
export const stopAll = (): void => {
  for (const child of running) signalGroup(child, 'SIGTERM')
}

export const runFile = (
  root: string,
  file: TestFile,
  env: NodeJS.ProcessEnv,
): Promise<Ended & { seconds: number }> =>
  new Promise(resolve => {
    const started = performance.now()
    const child = spawn(process.execPath, ['--no-warnings', file.path], {
      cwd: root,
      env: { ...env, NO_COLOR: '1', FORCE_COLOR: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    running.add(child)
    const chunks: Buffer[] = []
    let size = 0
    const collect = (chunk: Buffer): void => {
      size += chunk.length
      if (size <= MAX_OUTPUT) chunks.push(chunk)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    let timedOut = false
    let killer: NodeJS.Timeout | undefined
    const timer = setTimeout(() => {
      timedOut = true
      signalGroup(child, 'SIGTERM')
      killer = setTimeout(() => {
        signalGroup(child, 'SIGKILL')
        child.stdout.destroy()
        child.stderr.destroy()
      }, GRACE_MS)
    }, file.timeoutMs)
    const end = (exitCode: number | null, signal: string | null): void => {
      clearTimeout(timer)
      clearTimeout(killer)
      running.delete(child)
      // What the file left behind in its group, after a crash, goes too.
      signalGroup(child, 'SIGKILL')
      resolve({
        output: Buffer.concat(chunks).toString(),
        exitCode,
        signal,
        timedOut,
        seconds: (performance.now() - started) / 1000,
      })
    }
    // 'close' waits for the pipes, which a left-over child may hold open: the exit starts a limit on that.
    child.on('exit', () => setTimeout(() => signalGroup(child, 'SIGKILL'), 2_000).unref())
    child.on('close', end)
    child.on('error', error => {
      chunks.push(Buffer.from(String(error)))
      end(1, null)
    })
  })
