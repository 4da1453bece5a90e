/** Runs the command line as a user would, and collects what it answers. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { agentCommand } from '../../src/lab/nodes.ts'

export const ROOT = join(import.meta.dirname, '..', '..')

/** The executable when the run has built one, as for agents of labs; else the sources. */
export const SHUNT: readonly string[] = agentCommand()

export interface CliResult {
  /** `null` when a signal ended it. */
  code: number | null
  stdout: string
  stderr: string
}

export const startShunt = (args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess =>
  spawn(SHUNT[0]!, [...SHUNT.slice(1), ...args], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })

export const collect = (child: ChildProcess): Promise<CliResult> =>
  new Promise((resolve, reject) => {
    let stdout = ''
    let stderr = ''
    child.stdout?.setEncoding('utf8').on('data', chunk => {
      stdout += chunk
    })
    child.stderr?.setEncoding('utf8').on('data', chunk => {
      stderr += chunk
    })
    child.on('error', reject)
    child.on('close', code => resolve({ code, stdout, stderr }))
  })

export const shunt = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CliResult> =>
  collect(startShunt(args, env))
