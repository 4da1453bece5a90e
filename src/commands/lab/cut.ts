import { Args } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { labNameFlag } from '../../cli/lab-flags.ts'
import { json, localEnvelope, print } from '../../cli/output.ts'

export default class LabCut extends BaseCommand {
  static override summary = 'Unplug the cables of nodes of a lab; "shunt lab mend" plugs them in again.'
  static override description =
    `The machine is dead to all others, with no goodbye, and does not know it: its agent goes on.
The lab's router is plain: to a virtual IP that is announced by routes it goes on sending a cut forwarder its share, as a router would that has no BFD.
With "shunt lab up --announce arp" the forwarders see to it themselves.`
  static override examples = ['<%= config.bin %> lab cut f1', '<%= config.bin %> lab mend f1']
  static override strict = false
  static override args = {
    node: Args.string({
      description: 'One or more places, as "shunt lab status" shows them.',
      required: true,
    }),
  }
  static override flags = { name: labNameFlag }

  override async run(): Promise<void> {
    const { argv, flags } = await this.parse(LabCut)
    const { Lab } = await import('../../lab/lab.ts')
    const cut = await Lab.attach(flags.name).setLinks(argv as string[], 'down')
    if (flags.json) print(json(localEnvelope('shunt.lab-cut/1', { cut }), true))
    else print(`cut off: ${cut.join(', ')}`)
  }
}
