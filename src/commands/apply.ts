import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { documentFlag, readDocument } from '../cli/change/document-flag.ts'
import { changeFlags } from '../cli/change/flags.ts'

export default class Apply extends BaseCommand {
  static override summary = 'Make a cluster document the one in force, on all nodes.'
  static override description =
    `Shows the changes, asks, signs the document with the operator's key and hands it to the agent, which passes it on. It is
refused when another change came first (exit code 5). Then waits until every node whose agent can be heard has it
in force: exit code 3 when an agent cannot be heard for 3 seconds, 124 when one is late; the change stays in force in both cases.
Applying the same document again changes nothing and is no error.`
  static override examples = [
    '<%= config.bin %> apply -f cluster.yaml',
    '<%= config.bin %> apply -f cluster.yaml --expect 7 --note "more hosts" --yes',
    'sed s/h3/h4/ cluster.yaml | <%= config.bin %> apply -f - --yes',
  ]
  static override flags = {
    file: documentFlag,
    note: Flags.string({ description: 'Why, for shunt config history.', default: '', helpValue: 'TEXT' }),
    ...changeFlags,
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Apply)
    const [{ applyDocument }, { askCurrent }] = await Promise.all([
      import('../cli/change/apply.ts'),
      import('../cli/change/current.ts'),
    ])
    const document = await readDocument(flags.file)
    const current = await askCurrent(flags.socket)
    await applyDocument({ ...document, note: flags.note }, current, flags)
  }
}
