import { runCli } from './cli.ts'

const code = await runCli(process.argv.slice(2))
// Handles of libraries may be left open: the exit is explicit, after what was written has left.
process.stdout.write('', () => process.exit(code))
