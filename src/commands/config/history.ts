import { bytes } from '../../cli/format.ts'
import { NounCommand } from '../../cli/noun-command.ts'
import { table } from '../../cli/table.ts'
import type { ConfigHistoryData } from '../../control/types.ts'

export default class ConfigHistory extends NounCommand<ConfigHistoryData> {
  static override summary = 'Show the revisions of the cluster document, newest first.'
  static override description =
    `The revision of state current is in force; those of state past were. One of state lost was accepted by a node that could
not know of another change: that one won everywhere. Its text is still there for shunt config show and shunt rollback.`
  static override examples = ['<%= config.bin %> config history']

  protected override path(): string {
    return '/v1/config/history'
  }

  protected override remark(data: ConfigHistoryData): string | undefined {
    return data.revisions.length === 0 ? 'no document was applied yet; shunt apply does it' : undefined
  }

  protected override render(data: ConfigHistoryData): string {
    return table(
      [
        { head: 'REVISION', cell: r => r.revision, right: true },
        { head: 'STATE', cell: r => r.state },
        { head: 'APPLIED', cell: r => r.appliedAt },
        { head: 'HASH', cell: r => r.hash.slice(0, 12) },
        { head: 'SIZE', cell: r => bytes(r.bytes), right: true },
        { head: 'NOTE', cell: r => r.note },
      ],
      data.revisions,
    )
  }
}
