import { BaseCommand } from '../../cli/base-command.ts'
import { json, localEnvelope, note, print } from '../../cli/output.ts'
import { table } from '../../cli/table.ts'

export default class LabList extends BaseCommand {
  static override summary = 'List the labs on this machine.'
  static override description = 'Needs root.'
  static override examples = ['<%= config.bin %> lab list']

  override async run(): Promise<void> {
    const { flags } = await this.parse(LabList)
    const { Lab } = await import('../../lab/lab.ts')
    const labs = Lab.all().map(lab => ({
      name: lab.name,
      nodes: lab.nodes.length,
      agents: lab.hasAgents,
      createdAt: lab.createdAt,
      /** The process that will remove it. */
      owner: lab.inUse ? lab.owner!.pid : null,
    }))
    if (flags.json) {
      print(json(localEnvelope('shunt.labs/1', { labs }), true))
      return
    }
    print(
      table(
        [
          { head: 'LAB', cell: l => l.name },
          { head: 'NODES', cell: l => l.nodes, right: true },
          { head: 'AGENTS', cell: l => l.agents },
          { head: 'SINCE', cell: l => l.createdAt },
          { head: 'OWNER', cell: l => l.owner },
        ],
        labs,
      ),
    )
    if (labs.length === 0) note('no lab is up; shunt lab up starts one')
  }
}
