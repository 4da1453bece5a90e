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
import { type Held, heldOf, heldText } from './held.ts'
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
import { awaitDirective, type Look, lookOnce, NOTHING_SEEN } from './wait.ts'

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
  /** Of undrain only: what keeps new connections away all the same. Where the host was not asked, orders alone. */
  held?: Held[]
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
    this.#report(true, NOTHING_SEEN, orders)
    const ordered =
      state === 'active' ? `the order is withdrawn${this.#stillHeld([], orders)}` : `${state} is ordered`
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
    this.#report(false, look, directives)
    const held = this.#stillHeld(look.rows, directives)
    const noOrder = held === '' ? 'no order holds it back' : `it has no order of its own${held}`
    const before = state === 'active' ? noOrder : `it is ordered to be ${state}`
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
    this.#report(changed, waited ?? NOTHING_SEEN, orders)
    if (waited === null) return
    explain(waited, this.#target, state, flags.timeout)
    if (!waited.settled || flags.json) return
    const self = this.#nodes.find(node => node.name === this.#self)
    const left = state === 'active' ? '' : await leftText(this.#target, flags.socket, self)
    const held = state === 'active' ? heldText(heldOf(this.#target, waited.rows, orders)) : ''
    print(outcomeText(this.#name, this.#target.app, state, waited.rows, { left, held }))
  }

  /** `; web is draining (overload)`, or ''. */
  #stillHeld(rows: Look['rows'], orders: readonly DirectiveOrder[]): string {
    const held = heldOf(this.#target, rows, orders)
    return held.length === 0 ? '' : `; ${heldText(held)}`
  }

  #report(changed: boolean, { settled, waiting, rows }: Look, orders: readonly DirectiveOrder[]): void {
    const { command, state, flags } = this.#given
    if (!flags.json) return
    const { node, app } = this.#target
    const report: Report = { node, app, state, changed, settled, waiting }
    if (state === 'active') report.held = heldOf(this.#target, rows, orders)
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
