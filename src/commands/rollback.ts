import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { changeFlags } from '../cli/change/flags.ts'
import { ShuntError } from '../errors.ts'

export default class Rollback extends BaseCommand {
  static override summary = 'Apply the text of an earlier revision of the cluster document as a new revision.'
  static override description =
    `Without a revision it is the one before the one in force. Everything else is as with shunt apply.`
  static override examples = ['<%= config.bin %> rollback', '<%= config.bin %> rollback 7 --yes']
  static override args = {
    revision: Args.string({ description: 'Number of the revision, or 8 or more digits of its hash.' }),
  }
  static override flags = {
    note: Flags.string({
      description: 'Why, for shunt config history. Default: rollback to revision N.',
      helpValue: 'TEXT',
    }),
    ...changeFlags,
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(Rollback)
    const [{ applyDocument }, { askConfig, askCurrent, configPath }] = await Promise.all([
      import('../cli/change/apply.ts'),
      import('../cli/change/current.ts'),
    ])
    configPath(args.revision)
    const current = await askCurrent(flags.socket)
    const { parent, revision } = current.config
    if (args.revision === undefined && parent === '')
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        revision === 0
          ? 'no document was applied yet, so there is nothing to go back to'
          : `revision ${revision} is the first one, so there is nothing to go back to`,
      )
    const { data } = await askConfig(flags.socket, args.revision ?? parent)
    const text = flags.note ?? `rollback to revision ${data.revision}`
    await applyDocument({ text: data.text, file: `revision ${data.revision}`, note: text }, current, flags)
  }
}
