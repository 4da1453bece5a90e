import { Args } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { socketFlag } from '../../cli/operator.ts'
import { json, note, print, printExact, warn } from '../../cli/output.ts'
import type { ConfigData, Envelope } from '../../control/types.ts'
import { oneLine } from '../../plain-text.ts'

export default class ConfigShow extends BaseCommand {
  static override summary = 'Print the cluster document that is in force, or an earlier revision.'
  static override description =
    `The text is as the operator wrote it, and alone on standard output; control characters are left out at a terminal.`
  static override examples = [
    '<%= config.bin %> config show > cluster.yaml',
    '<%= config.bin %> config show 7',
  ]
  static override args = {
    revision: Args.string({ description: 'Number of the revision, or 8 or more digits of its hash.' }),
  }
  static override flags = { socket: socketFlag }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(ConfigShow)
    const { configPath } = await import('../../cli/change/current.ts')
    const { get } = await import('../../control/client.ts')
    const answer = (await get(flags.socket, configPath(args.revision))) as Envelope<ConfigData>
    if (flags.json) {
      print(json(answer, true))
      return
    }
    const { revision, state, appliedAt, text, warnings } = answer.data
    if (revision === 0) {
      note('no document was applied yet; shunt apply does it')
      return
    }
    printExact(text)
    const remark = answer.data.note === '' ? '' : `: ${oneLine(answer.data.note)}`
    note(`revision ${revision} (${state}), applied ${appliedAt}${remark}`)
    for (const warning of warnings) warn(warning)
  }
}
