import { Args } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { labNameFlag } from '../../cli/lab-flags.ts'
import { json, localEnvelope, note, print } from '../../cli/output.ts'

export default class LabStart extends BaseCommand {
  static override summary =
    'Start the agents of nodes of a lab: one built without them, or whose agents were stopped.'
  static override description =
    `In a lab that is "up --mode bare": after shunt init or shunt join has made the node's files.
An agent that runs already is left alone. This is also what follows an agent that ended by itself or by SIGUSR2 (see shunt-agent(1)):
in a lab there is no systemd that starts the next.`
  static override examples = [
    '<%= config.bin %> lab start f1',
    '<%= config.bin %> lab start h1 h2 --name bare',
  ]
  static override strict = false
  static override args = {
    node: Args.string({
      description: 'One or more nodes, as "shunt lab status" shows them.',
      required: true,
    }),
  }
  static override flags = { name: labNameFlag }

  override async run(): Promise<void> {
    const { argv, flags } = await this.parse(LabStart)
    const { Lab } = await import('../../lab/lab.ts')
    const { isAlive } = await import('../../lab/processes.ts')
    const lab = Lab.attach(flags.name)
    const started: string[] = []
    for (const node of argv as string[]) {
      const agent = lab.process(node)
      if (agent !== null && isAlive(agent)) {
        note(`the agent of ${node} runs already`)
        continue
      }
      started.push(node)
    }
    await lab.startAgents(started)
    if (flags.json) print(json(localEnvelope('shunt.lab-start/1', { started }), true))
    else if (started.length > 0) print(`started: ${started.join(', ')}`)
  }
}
