import { NounCommand } from '../cli/noun-command.ts'
import { table } from '../cli/table.ts'
import type { VipsData } from '../control/types.ts'

export default class Vips extends NounCommand<VipsData> {
  static override summary = 'Show the virtual IPs and their services.'
  static override description = `The exit code is 3 when no host of a service is alive.`
  static override examples = ['<%= config.bin %> vips']

  protected override path(): string {
    return '/v1/vips'
  }

  protected override troubles(data: VipsData): string[] {
    return data.vips.filter(v => v.live === 0).map(v => `no host of service ${v.service} is alive`)
  }

  protected override render(data: VipsData): string {
    return table(
      [
        { head: 'SERVICE', cell: v => v.service },
        { head: 'VIP', cell: v => v.vip },
        { head: 'PORT', cell: v => v.port, right: true },
        { head: 'PROTOCOL', cell: v => v.protocol },
        { head: 'HOSTS', cell: v => v.hosts, right: true },
        { head: 'LIVE', cell: v => v.live, right: true },
        { head: 'FLOWS', cell: v => v.flows, right: true },
        { head: 'CONNECTIONS', cell: v => v.connections, right: true },
      ],
      data.vips,
    )
  }
}
