/** Gives an order about a host's applications, and sees it through; for drain and undrain. */
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { HostsData, NodeRow, WaitingUnit } from '../../control/types.ts'
import { ShuntError } from '../../errors.ts'
import type { DirectiveState } from '../../health/types.ts'
import { memberNamed } from '../members.ts'
import { askNodes, askOwnCluster, dataOf, loadOperator, type Operator, sendStatements } from '../operator.ts'
import { json, localEnvelope, note, print } from '../output.ts'
import { askAboutLast, leftText } from './around.ts'
import { type DirectiveFlags, timeoutOf } from './flags.ts'
import { outcomeText, waitingText } from './progress.ts'
import { explain, teller, untilInterrupted } from './say.ts'
import {
  checkTarget,
  nextDirective,
  otherOrders,
  parseTarget,
  type Target,
  targetText,
  withDirective,
} from './target.ts'
import { awaitDirective, lookOnce, NOTHING_SEEN } from './wait.ts'

export interface Given {
  command: 'drain' | 'undrain'
  target: string
  state: DirectiveState
  flags: DirectiveFlags
}

interface Report {
  node: string
  app: string
  state: DirectiveState
  changed: boolean
  settled: boolean
  waiting: WaitingUnit[]
}

class Giving {
  readonly #given: Given
  readonly #target: Target
  readonly #row: NodeRow
  readonly #nodes: readonly NodeRow[]
  readonly #self: string

  constructor(given: Given, target: Target, nodes: readonly NodeRow[], row: NodeRow, self: string) {
    this.#given = given
    // A peer id is a name too.
    this.#target = { ...target, node: row.name }
    this.#row = row
    this.#nodes = nodes
    this.#self = self
  }

  /** @throws ShuntError SHUNT_ERR_GUARD (not confirmed), SHUNT_ERR_USAGE, SHUNT_ERR_CONFLICT */
  async run(operator: Operator): Promise<void> {
    const { state, flags } = this.#given
    const order = nextDirective(this.#row, this.#target.app, state, Date.now())
    if (order === null) return this.#nothingToChange()
    if (state !== 'active') {
      const hosts = await dataOf<HostsData>(flags.socket, '/v1/hosts')
      checkTarget(this.#target, this.#row, hosts.hosts)
      await askAboutLast(this.#target, state, flags, this.#nodes, hosts)
    }
    await sendStatements(flags.socket, [order], operator)
    const orders = withDirective(this.#row.directives, order)
    this.#tellOthers(orders)
    if (flags.wait) return this.#follow(order, orders, true)
    this.#report({ changed: true, ...NOTHING_SEEN })
    const ordered = state === 'active' ? 'the order is withdrawn' : `${state} is ordered`
    if (!flags.json) print(`${this.#name}: ${ordered}`)
  }

  get #name(): string {
    return targetText(this.#target)
  }

  #tellOthers(orders: readonly DirectiveOrder[]): void {
    if (this.#given.state !== 'active') return
    for (const sentence of otherOrders(this.#target, orders)) note(sentence)
  }

  /** What was ordered already may still be on its way: then that is waited for like a new order. */
  async #nothingToChange(): Promise<void> {
    const { flags, state } = this.#given
    const { directives } = this.#row
    const look = await lookOnce(flags.socket, this.#row, directives, this.#target.app).catch(
      () => NOTHING_SEEN,
    )
    const given = directives.find(({ app }) => app === this.#target.app)
    if (given !== undefined && !look.settled && flags.wait) return this.#follow(given, directives, false)
    this.#report({ changed: false, ...look })
    const before = state === 'active' ? 'no order holds it back' : `it is ordered to be ${state}`
    if (!flags.json) print(`${this.#name}: nothing to change, ${before}`)
    this.#tellOthers(directives)
    if (look.waiting.length > 0) note(`waiting for ${waitingText(look.waiting, this.#row.name)}`)
  }

  async #follow(order: DirectiveOrder, orders: readonly DirectiveOrder[], changed: boolean): Promise<void> {
    const { flags, state } = this.#given
    const waited = await untilInterrupted(
      signal =>
        awaitDirective({
          socket: flags.socket,
          node: this.#row,
          order,
          orders,
          waitMs: timeoutOf(flags.timeout),
          signal,
          onLook: teller(this.#row.name),
        }),
      () =>
        note(
          `stopped waiting; ${state === 'active' ? 'the order is withdrawn' : `${this.#name} goes on to become ${state}`}`,
        ),
    )
    this.#report({ changed, ...(waited ?? NOTHING_SEEN) })
    if (waited === null) return
    explain(waited, this.#target, state, flags.timeout)
    if (!waited.settled || flags.json) return
    const self = this.#nodes.find(node => node.name === this.#self)
    const left = state === 'active' ? '' : await leftText(this.#target, flags.socket, self)
    print(outcomeText(this.#name, this.#target.app, state, waited.rows, left))
  }

  #report({ changed, settled, waiting }: Pick<Report, 'changed' | 'settled' | 'waiting'>): void {
    const { command, state, flags } = this.#given
    if (!flags.json) return
    const { node, app } = this.#target
    const report: Report = { node, app, state, changed, settled, waiting }
    print(json(localEnvelope(`shunt.${command}/1`, report, this.#self), true))
  }
}

/** @throws ShuntError SHUNT_ERR_GUARD (static cluster, another operator's, not confirmed), SHUNT_ERR_USAGE, SHUNT_ERR_CONFLICT */
export const giveDirective = async (given: Given): Promise<void> => {
  const { flags } = given
  const target = parseTarget(given.target)
  timeoutOf(flags.timeout)
  const operator = await loadOperator(flags)
  const cluster = await askOwnCluster(flags.socket, operator)
  const nodes = await askNodes(flags.socket)
  const row = memberNamed(nodes, target.node)
  // An agent that goes on after an upgrade of the program.
  if (row.directives === undefined)
    throw new ShuntError(
      'SHUNT_ERR_GUARD',
      'the agent here is of an earlier version, which knows no directives: restart it (systemctl restart shunt)',
    )
  await new Giving(given, target, nodes.nodes, row, cluster.node.name).run(operator)
}
