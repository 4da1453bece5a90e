import { NounCommand } from '../cli/noun-command.ts'
import { table } from '../cli/table.ts'
import type { DropsData, NodesData, StatusData } from '../control/types.ts'

export default class Drops extends NounCommand<DropsData> {
  static override summary = 'Show dropped packets by reason, with what to do about each.'
  static override description =
    `Each node counts what it drops itself, since its agent started. What clients send passes a classifier first: packets that no host may
take are dropped there and not at the forwarder, so look at the classifiers too (--node).`
  static override examples = [
    '<%= config.bin %> drops',
    '<%= config.bin %> drops --watch',
    '<%= config.bin %> drops --node c1',
  ]

  protected override path(): string {
    return '/v1/drops'
  }

  protected override remark(data: DropsData): string | undefined {
    return data.drops.length === 0 ? 'nothing was dropped' : undefined
  }

  protected override async lookElsewhere(
    ask: (path: string) => Promise<unknown>,
  ): Promise<string | undefined> {
    try {
      const { node, roles } = (await ask('/v1/status')) as StatusData
      if (roles.includes('classifier')) return undefined
      const { nodes } = (await ask('/v1/nodes')) as NodesData
      const [first, ...more] = nodes.filter(each => each.roles.includes('classifier')).map(({ name }) => name)
      if (first === undefined) return undefined
      const others = more.length === 0 ? '' : ` (and at ${more.join(', ')})`
      return `${node} is no classifier: packets of services are dropped at a classifier too: shunt drops --node ${first}${others}`
    } catch {
      // What was asked for is shown; this is only a hint.
      return undefined
    }
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
