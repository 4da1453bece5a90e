/** Runs a command of this same program. */
import { spawn } from 'node:child_process'
import { isSea } from 'node:sea'
import type { CommandResult } from './model.ts'

/** The end of a longer output is what counts. */
const MAX_OUTPUT = 64 * 1024
const MAX_LINES = 200

/** The program and its first arguments: the executable itself, or Node with the same script. */
const program = (): [string, string[]] =>
  isSea() ? [process.execPath, []] : [process.execPath, [...process.execArgv, process.argv[1]!]]

/**
 * Never rejects. The command is not ended with the caller: what an operator confirmed runs to its end. It has no
 * terminal, so that a question of it is a refusal.
 */
export const runSelf = (args: readonly string[]): Promise<CommandResult> =>
  new Promise(resolve => {
    const [file, first] = program()
    const child = spawn(file, [...first, ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    })
    let output = ''
    const take = (chunk: string): void => {
      output = (output + chunk).slice(-MAX_OUTPUT)
    }
    child.stdout.setEncoding('utf8').on('data', take)
    child.stderr.setEncoding('utf8').on('data', take)
    child.on('error', error => resolve({ code: 1, lines: [`cannot start it: ${error.message}`] }))
    child.on('close', code => resolve({ code, lines: output.trimEnd().split('\n').slice(-MAX_LINES) }))
  })
