import { Flags } from '@oclif/core'
import { DropRates, type DropRow, type NodeDrops } from '../cli/drop-rates.ts'
import { compact } from '../cli/format.ts'
import { isUnreachable, NounCommand, type NounFlags, nounFlags } from '../cli/noun-command.ts'
import { json, localEnvelope, note, print, warn } from '../cli/output.ts'
import { pathAt } from '../cli/path-at.ts'
import { redraw } from '../cli/redraw.ts'
import { type Column, table } from '../cli/table.ts'
import { watchUntilStopped } from '../cli/watching.ts'
import type { DropsData, Envelope, NodesData, StatusData } from '../control/types.ts'
import { errorText } from '../errors.ts'

interface DropsFlags extends NounFlags {
  all: boolean
}

/** Of one look at one node or all of them. */
interface Looked {
  /** Who was asked. */
  node: string
  nodes: NodeDrops[]
}

const COLUMNS: readonly Column<DropRow>[] = [
  { head: 'NUMBER', cell: d => d.number, right: true },
  { head: 'WHERE', cell: d => d.where },
  { head: 'COUNT', cell: d => d.count, right: true },
  { head: 'REASON', cell: d => d.reason },
  { head: 'HINT', cell: d => d.hint },
]
const RATE: Column<DropRow> = {
  ...{ head: 'PKT/S', right: true },
  cell: d => (d.perSecond === null ? null : compact(d.perSecond)),
}
const NODE: Column<DropRow> = { head: 'NODE', cell: d => d.node }

export default class Drops extends NounCommand<DropsData, DropsFlags> {
  static override summary = 'Show dropped packets by reason, with what to do about each.'
  static override description =
    `Each node counts what it drops itself, since its agent started: in the kernel (nftables and XDP), or in the agent. What clients send passes a classifier
first: packets that no host may take are dropped there and not at the forwarder, so look at the classifiers too (--node, or --all for all nodes). With --watch also how
many packets a second each reason takes since the look before, the most first; --json then prints an object a look.`
  static override examples = [
    '<%= config.bin %> drops',
    '<%= config.bin %> drops --watch --all',
    '<%= config.bin %> drops --node c1',
  ]
  static override flags = {
    ...nounFlags,
    node: Flags.string({
      ...{ description: 'Ask the agent of this node, through the one here.', helpValue: 'NAME' },
      exclusive: ['all'],
    }),
    all: Flags.boolean({ char: 'a', description: 'Ask all nodes of the cluster, through the one here.' }),
  }

  override async run(): Promise<void> {
    const flags = (await this.parse(Drops)).flags as DropsFlags
    if (flags.watch) await this.#watch(flags)
    else if (flags.all) this.#print(await this.#look(flags), new DropRates(), flags)
    else await super.run()
  }

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

  protected override render({ drops }: DropsData): string {
    return table(
      COLUMNS,
      drops.map(drop => ({ ...drop, node: '', perSecond: null })),
    )
  }

  async #look(flags: DropsFlags, signal?: AbortSignal): Promise<Looked> {
    const { get } = await import('../control/client.ts')
    const ask = async (node: string | undefined): Promise<Envelope<DropsData>> =>
      (await get(flags.socket, pathAt(this.path(), node), signal)) as Envelope<DropsData>
    if (!flags.all) {
      const { node, data } = await ask(flags.node)
      return { node, nodes: [{ node, drops: data.drops }] }
    }
    const all = (await get(flags.socket, '/v1/nodes', signal)) as Envelope<NodesData>
    const nodes = await Promise.all(
      all.data.nodes.map(async ({ name, self }): Promise<NodeDrops> => {
        try {
          return { node: name, drops: (await ask(self ? undefined : name)).data.drops }
        } catch (error) {
          if (self || !isUnreachable(error)) throw error
          return { node: name, drops: null, error: errorText(error) }
        }
      }),
    )
    return { node: all.node, nodes }
  }

  #print({ node, nodes }: Looked, rates: DropRates, flags: DropsFlags, isFirst = true): void {
    const drops = rates.look(nodes, performance.now())
    const missing = nodes.filter(each => each.drops === null)
    if (flags.json) {
      const silent = missing.map(({ node: name, error = '' }) => ({ node: name, error }))
      print(json(localEnvelope('shunt.drops/1', { drops, missing: silent }, node), !flags.watch))
      return
    }
    const columns = [...(flags.all ? [NODE] : []), ...COLUMNS]
    if (flags.watch) columns.splice(flags.all ? 3 : 2, 0, RATE)
    const text = flags.watch && drops.length === 0 ? 'nothing was dropped yet\n' : table(columns, drops)
    const silent = missing.map(({ node: name }) => `no answer of ${name}`)
    if (flags.watch) {
      const head = `${node} at ${new Date().toISOString()}, every ${flags.interval} ms; Ctrl-C stops watching`
      redraw(head, [text, ...silent.map(line => `${line}\n`)].join(''), isFirst)
      return
    }
    print(text)
    if (drops.length === 0) note('nothing was dropped')
    for (const line of silent) warn(line)
  }

  async #watch(flags: DropsFlags): Promise<void> {
    const rates = new DropRates()
    let isFirst = true
    await watchUntilStopped({
      everyMs: flags.interval,
      look: async (signal, heard) => {
        this.#print(await this.#look(flags, signal), rates, flags, isFirst)
        heard()
        isFirst = false
      },
      mayReturn: error => !isFirst && isUnreachable(error),
    })
  }
}
