/**
 * A program for driving `shunt top` in a terminal: `top [OPTIONS]`, `crash [OPTIONS]` (a defect after a second), and
 * a `roles` that says what it was given, in place of the one that signs.
 */
import { EXIT, exitCodeOf } from '../../src/cli/exit-codes.ts'
import { loadLibrary } from '../../src/cli/library.ts'
import { printError } from '../../src/cli/output.ts'
import Top from '../../src/commands/top.ts'

const [verb, ...args] = process.argv.slice(2)

const top = async (): Promise<number> => {
  try {
    await new Top(args, await loadLibrary([])).run()
    return Number(process.exitCode ?? EXIT.OK)
  } catch (error) {
    printError(error, false, 'top')
    return exitCodeOf(error)
  }
}

if (verb === 'roles') {
  process.stdout.write(`given: ${args.join(' ')}\n`)
} else {
  if (verb === 'crash')
    setTimeout(() => {
      throw new Error('a defect of the test')
    }, 1000)
  process.exit(await top())
}
