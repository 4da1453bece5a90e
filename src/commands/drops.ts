import { NounCommand } from '../cli/noun-command.ts'
import { table } from '../cli/table.ts'
import type { DropsData } from '../control/types.ts'

export default class Drops extends NounCommand<DropsData> {
  static override summary = 'Show dropped packets by reason, with what to do about each.'
  static override examples = ['<%= config.bin %> drops', '<%= config.bin %> drops --watch']

  protected override path(): string {
    return '/v1/drops'
  }

  protected override remark(data: DropsData): string | undefined {
    return data.drops.length === 0 ? 'nothing was dropped' : undefined
  }

  protected override render(data: DropsData): string {
    return table(
      [
        { head: 'NUMBER', cell: d => d.number, right: true },
        { head: 'WHERE', cell: d => d.where },
        { head: 'COUNT', cell: d => d.count, right: true },
        { head: 'REASON', cell: d => d.reason },
        { head: 'HINT', cell: d => d.hint },
      ],
      data.drops,
    )
  }
}
