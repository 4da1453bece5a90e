import { BaseCommand } from '../../cli/base-command.ts'
import { EXIT } from '../../cli/exit-codes.ts'
import { labNameFlag } from '../../cli/lab-flags.ts'
import { json, localEnvelope, print, warn } from '../../cli/output.ts'
import { table } from '../../cli/table.ts'
import type { PlaceStatus } from '../../lab/describe.ts'

export default class LabStatus extends BaseCommand {
  static override summary = 'Show the nodes of a lab and how their agents are.'
  static override description = 'The exit code is 3 when an agent or a web server does not run.'
  static override examples = ['<%= config.bin %> lab status', '<%= config.bin %> lab status --json']
  static override flags = { name: labNameFlag }

  override async run(): Promise<void> {
    const { flags } = await this.parse(LabStatus)
    const { Lab } = await import('../../lab/lab.ts')
    const { describeLab, labTroubles } = await import('../../lab/describe.ts')
    const status = await describeLab(Lab.attach(flags.name))
    if (flags.json) print(json(localEnvelope('shunt.lab/1', status), true))
    else {
      // Of a lab without IPv6 two columns would be empty.
      const six = status.places.some(p => p.address6 !== null)
      print(
        table(
          [
            { head: 'NODE', cell: p => p.name },
            { head: 'ROLES', cell: p => (p.kind === 'node' ? p.roles.join(',') : p.kind) },
            { head: 'NAMESPACE', cell: p => p.netns },
            { head: 'ADDRESS', cell: p => p.address },
            { head: 'TUNNEL', cell: p => p.tunnel },
            ...(six
              ? [
                  { head: 'ADDRESS6', cell: (p: PlaceStatus) => p.address6 },
                  { head: 'TUNNEL6', cell: (p: PlaceStatus) => p.tunnel6 },
                ]
              : []),
            { head: 'CAPACITY', cell: p => p.capacity, right: true },
            { head: 'PID', cell: p => p.pid, right: true },
            { head: 'AGENT', cell: p => (p.agent === 'none' ? null : p.agent) },
          ],
          status.places,
        ),
      )
    }
    const troubles = labTroubles(status)
    for (const trouble of troubles) warn(trouble)
    if (troubles.length > 0) process.exitCode = EXIT.DEGRADED
  }
}
