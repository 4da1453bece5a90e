import { Flags } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { labNameFlag } from '../../cli/lab-flags.ts'
import { json, localEnvelope, note, print, warn } from '../../cli/output.ts'

export default class LabDown extends BaseCommand {
  static override summary = 'Remove a lab: its namespaces, processes, cgroups and files.'
  static override description =
    `Without --name it is the lab of the usual name, and when there is none that is success; with a name that no lab has, the exit code is 1.`
  static override examples = ['<%= config.bin %> lab down', '<%= config.bin %> lab down --all']
  static override flags = {
    name: labNameFlag,
    all: Flags.boolean({
      description: 'Remove every lab, except those that a running process (a test) will remove itself.',
    }),
  }

  override async run(): Promise<void> {
    const { flags, metadata } = await this.parse(LabDown)
    const isNamed = metadata.flags.name?.setFromDefault !== true
    const [{ Lab }, { noLab }] = await Promise.all([import('../../lab/lab.ts'), import('../../lab/state.ts')])
    const removed: string[] = []
    const remove = async (name: string): Promise<void> => {
      if (await Lab.down(name)) removed.push(name)
      else if (flags.all || !isNamed) note(`there is no lab ${name}`)
    }
    if (flags.all)
      for (const lab of Lab.all()) {
        if (lab.inUse)
          warn(`lab ${lab.name} belongs to process ${lab.owner?.pid}; remove it by --name ${lab.name}`)
        else await remove(lab.name)
      }
    else {
      await remove(flags.name)
      if (isNamed && removed.length === 0) throw noLab(flags.name)
    }
    for (const name of removed) note(`removed lab ${name}`)
    if (flags.json) print(json(localEnvelope('shunt.lab-down/1', { removed }), true))
  }
}
