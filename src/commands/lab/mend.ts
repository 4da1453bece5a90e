import { Args } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { labNameFlag } from '../../cli/lab-flags.ts'
import { json, localEnvelope, print } from '../../cli/output.ts'

export default class LabMend extends BaseCommand {
  static override summary = 'Plug in again the cables that "shunt lab cut" has unplugged.'
  static override examples = ['<%= config.bin %> lab mend f1']
  static override strict = false
  static override args = {
    node: Args.string({
      description: 'One or more places, as "shunt lab status" shows them.',
      required: true,
    }),
  }
  static override flags = { name: labNameFlag }

  override async run(): Promise<void> {
    const { argv, flags } = await this.parse(LabMend)
    const { Lab } = await import('../../lab/lab.ts')
    const mended = await Lab.attach(flags.name).setLinks(argv as string[], 'up')
    if (flags.json) print(json(localEnvelope('shunt.lab-mend/1', { mended }), true))
    else print(`plugged in: ${mended.join(', ')}`)
  }
}
