import { once } from 'node:events'
import { Args } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { labNameFlag } from '../../cli/lab-flags.ts'
import { json, localEnvelope, print } from '../../cli/output.ts'
import { ShuntError } from '../../errors.ts'

export default class LabExec extends BaseCommand {
  static override summary = "Run a program in a node's (or client's, or the router's) namespace."
  static override description =
    `In a node SHUNT_SOCKET, SHUNT_APP_SOCKET, SHUNT_CONFIG, SHUNT_STATE_DIR, SHUNT_OPERATOR_KEY, SHUNT_LAB and SHUNT_LAB_NODE
are set (and SHUNT_LAB_DATAPLANE in a bare lab that was given one), so that shunt in there asks that node's agent and works on its files. The exit code is the program's.`
  static override examples = [
    '<%= config.bin %> lab exec client1 -- curl -s http://10.99.0.1/',
    '<%= config.bin %> lab exec f1 -- shunt status',
    '<%= config.bin %> lab exec h1 -- sh',
  ]
  static override strict = false
  static override args = {
    node: Args.string({ description: 'Where: a name that "shunt lab status" shows.', required: true }),
    command: Args.string({ description: 'The program and, after --, its arguments.', required: true }),
  }
  static override flags = { name: labNameFlag }

  override async run(): Promise<void> {
    const { args, flags, raw } = await this.parse(LabExec)
    // Not the library's argv, which is sorted by the first place of each word: a word that comes twice would move.
    const command = raw.flatMap(token => (token.type === 'arg' ? [token.input] : [])).slice(1)
    if (command.length === 0) throw new ShuntError('SHUNT_ERR_USAGE', 'no program given; put it after --')
    const { Lab } = await import('../../lab/lab.ts')
    const lab = Lab.attach(flags.name)
    if (flags.json) {
      const result = await lab.exec(args.node, command)
      print(json(localEnvelope('shunt.lab-exec/1', result, args.node), true))
      process.exitCode = result.code
      return
    }
    const { exitCode } = await import('../../lab/run.ts')
    const child = lab.spawn(args.node, command, 'inherit')
    // Ctrl-C goes to the program too, by the terminal: it decides. A signal to this process alone is passed on.
    const stay = (): void => {}
    const passOn = (signal: NodeJS.Signals): void => void child.kill(signal)
    process.on('SIGINT', stay).on('SIGTERM', passOn).on('SIGHUP', passOn)
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
    process.off('SIGINT', stay).off('SIGTERM', passOn).off('SIGHUP', passOn)
    process.exitCode = exitCode(code, signal)
  }
}
