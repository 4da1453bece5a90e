import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { documentFlag, readDocument } from '../cli/change/document-flag.ts'
import { EXIT } from '../cli/exit-codes.ts'
import { count } from '../cli/format.ts'
import { socketFlag } from '../cli/operator.ts'
import { json, localEnvelope, note, print, warn } from '../cli/output.ts'

export default class Plan extends BaseCommand {
  static override summary = 'Show what applying a cluster document would change.'
  static override description =
    `A line a change: + adds, - removes, ~ changes. Nothing is changed, and no operator key is needed. See shunt-cluster.yaml(5).`
  static override examples = [
    '<%= config.bin %> plan -f cluster.yaml',
    '<%= config.bin %> plan -f cluster.yaml --exit-code',
  ]
  static override flags = {
    file: documentFlag,
    socket: socketFlag,
    'exit-code': Flags.boolean({ description: 'End with exit code 3 when there are changes.' }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Plan)
    const [{ askCurrent, planOf }, { renderChanges }] = await Promise.all([
      import('../cli/change/current.ts'),
      import('../config/document-diff.ts'),
    ])
    // What is wrong with the file by itself is said also when no agent answers.
    const { text, file } = await readDocument(flags.file)
    const current = await askCurrent(flags.socket)
    const { changes, warnings } = await planOf(text, file, current)
    const { revision } = current.config
    if (flags.json) {
      const data = { file, revision, changes, warnings }
      print(json(localEnvelope('shunt.plan/1', data, current.node), true))
    } else {
      print(renderChanges(changes))
      if (changes.length === 0) print(`nothing to change: revision ${revision} says the same`)
      else note(`${count(changes.length, 'change')} to revision ${revision}`)
    }
    for (const warning of warnings) warn(warning)
    if (flags['exit-code'] && changes.length > 0) process.exitCode = EXIT.DEGRADED
  }
}
