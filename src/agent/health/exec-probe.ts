/**
 * An exec probe: a command exits with 0. It runs as the agent's user, without a shell, in a process group of its own, which is
 * killed whole when the probe ends: what a command leaves in the background would gather otherwise.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { portOf } from '../../health/probe/target.ts'
import { bad, failureText, good, type ProbeOutcome, type ProbeRun, plain } from './probe-run.ts'

/** Of its output only the beginning is told; the rest is read and forgotten. */
const MAX_OUTPUT = 160

const killGroup = ({ pid }: ChildProcess): void => {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // nobody is left in it
  }
}

const outcomeOf = (code: number | null, killed: string | null, output: string): ProbeOutcome => {
  const first = output.trim().split('\n')[0]!
  const said = first === '' ? '' : `: ${plain(first)}`
  if (code === 0) return good(`exit status 0${said}`)
  return bad(`${code === null ? `killed by ${killed}` : `exit status ${code}`}${said}`)
}

export const probeExec: ProbeRun = (target, signal) =>
  new Promise(resolve => {
    const [program, ...args] = target.check.command!
    const child = spawn(program!, args, {
      cwd: '/',
      detached: true,
      env: {
        PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
        SHUNT_SERVICE: target.service,
        SHUNT_VIP: target.address,
        SHUNT_PORT: String(portOf(target)),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let fail = (_error: Error): void => {}
    child.on('error', error => fail(error))
    let output = ''
    // Without descriptors left there are none.
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        if (output.length < MAX_OUTPUT) output = (output + text).slice(0, MAX_OUTPUT)
      })
    const end = (outcome: ProbeOutcome): void => {
      signal.removeEventListener('abort', abort)
      resolve(outcome)
    }
    const abort = (): void => {
      killGroup(child)
      // Whoever left the process group may hold these open for ever.
      child.stdout?.destroy()
      child.stderr?.destroy()
      const { exitCode, signalCode } = child
      const runs = exitCode === null && signalCode === null
      end(runs ? bad('the command did not end') : outcomeOf(exitCode, signalCode, output))
    }
    signal.addEventListener('abort', abort)
    child.on('exit', () => killGroup(child))
    child.on('close', (code, killed) => end(outcomeOf(code, killed, output)))
    fail = error => end(bad(`cannot run ${program}: ${failureText(error)}`))
  })
