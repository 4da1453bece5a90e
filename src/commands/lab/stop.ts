import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { labNameFlag } from '../../cli/lab-flags.ts'
import { json, localEnvelope, note, print } from '../../cli/output.ts'

export default class LabStop extends BaseCommand {
  static override summary = 'End the agents of nodes of a lab; "shunt lab start" starts them again.'
  static override description =
    `An agent is asked to end as by systemctl stop: it lets what is in flight end and leaves the kernel as it was before. With --kill it
has no time for that, as when it crashes: what it left in the kernel goes on, and the next agent goes on with it. An agent that does not
run is left alone. Nothing starts a lab's agents again by itself, neither after that nor after a signal of your own (SIGUSR2, as an upgrade sends it): shunt lab start does.`
  static override examples = [
    '<%= config.bin %> lab stop c1',
    '<%= config.bin %> lab stop f1 --kill && <%= config.bin %> lab start f1',
  ]
  static override strict = false
  static override args = {
    node: Args.string({
      description: 'One or more nodes, as "shunt lab status" shows them.',
      required: true,
    }),
  }
  static override flags = {
    name: labNameFlag,
    kill: Flags.boolean({ description: 'Kill it (SIGKILL), as if it had crashed.' }),
  }

  override async run(): Promise<void> {
    const { argv, flags } = await this.parse(LabStop)
    const { Lab } = await import('../../lab/lab.ts')
    const lab = Lab.attach(flags.name)
    const nodes = [...new Set(argv as string[])]
    const { stopped, idle } = lab.stopAgents(nodes, flags.kill)
    for (const node of idle) note(`the agent of ${node} does not run`)
    if (flags.json) print(json(localEnvelope('shunt.lab-stop/1', { stopped }), true))
    else if (stopped.length > 0) print(`${flags.kill ? 'killed' : 'stopped'}: ${stopped.join(', ')}`)
  }
}
