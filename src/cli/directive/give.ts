/** Gives an order about a host's applications, and sees it through; for drain and undrain. */
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { HostsData, NodeRow, WaitingUnit } from '../../control/types.ts'
import { ShuntError } from '../../errors.ts'
import type { DirectiveState } from '../../health/types.ts'
import { memberNamed } from '../members.ts'
import { askNodes, askOwnCluster, dataOf, loadOperator, type Operator, sendStatements } from '../operator.ts'
import { json, localEnvelope, note, print } from '../output.ts'
import { askAboutLast } from './around.ts'
import { deadText } from './away.ts'
import { type DirectiveFlags, timeoutOf } from './flags.ts'
import { type Held, heldOf, heldText, stricterOf, stricterText } from './held.ts'
import { type AskNode, askThrough, countLeft, type Left, leftNumber, leftText } from './left.ts'
import { outcomeText, waitingText } from './progress.ts'
import { explain, interruptedText, startTeller, untilInterrupted } from './say.ts'
import {
  checkTarget,
  nextDirective,
  orderedState,
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
  /** Of undrain: what keeps new connections away all the same; of drain: what is stricter. Where the host was not asked, orders alone. */
  held: Held[]
  /** Of drain only: all that the target has in the cluster now; `null`: not known. */
  connections?: number | null
}

class Giving {
  readonly #given: Given
  readonly #target: Target
  readonly #row: NodeRow
  readonly #nodes: readonly NodeRow[]
  readonly #self: string
  readonly #ask: AskNode

  constructor(given: Given, target: Target, nodes: readonly NodeRow[], row: NodeRow, self: string) {
    this.#given = given
    // A peer id is a name too.
    this.#target = { ...target, node: row.name }
    this.#row = row
    this.#nodes = nodes
    this.#self = self
    this.#ask = askThrough(given.flags.socket)
  }

  /** @throws ShuntError SHUNT_ERR_GUARD (not confirmed), SHUNT_ERR_USAGE, SHUNT_ERR_CONFLICT */
  async run(operator: Operator): Promise<void> {
    const { state, flags } = this.#given
    const { app } = this.#target
    const order = nextDirective(this.#row, app, state, Date.now())
    // An order may outlive what it is about: it can be withdrawn, and is seen.
    if (orderedState(this.#row.directives, app) === 'active') {
      const hosts = await dataOf<HostsData>(flags.socket, '/v1/hosts')
      checkTarget(this.#target, this.#row, hosts.hosts)
      if (order !== null) await askAboutLast(this.#target, state, flags, this.#nodes, hosts)
    }
    if (order === null) return this.#nothingToChange()
    await sendStatements(flags.socket, [order], operator)
    const orders = withDirective(this.#row.directives, order)
    this.#tellOthers(orders)
    if (flags.wait) return this.#follow(order, orders, true)
    this.#report(true, NOTHING_SEEN, orders)
    const ordered = state === 'active' ? 'the order is withdrawn' : `${state} is ordered`
    if (!flags.json) print(`${this.#name}: ${ordered}${this.#stillHeld([], orders)}`)
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
    const look =
      deadText(this.#row) === null
        ? await lookOnce(flags.socket, this.#row, directives, this.#target.app).catch(() => NOTHING_SEEN)
        : NOTHING_SEEN
    const given = directives.find(({ app }) => app === this.#target.app)
    if (given !== undefined && !look.settled && flags.wait) return this.#follow(given, directives, false)
    const left = await this.#left()
    this.#report(false, look, directives, left)
    const held = this.#stillHeld(look.rows, directives)
    const noOrder = held === '' ? 'no order holds it back' : `it has no order of its own${held}`
    const before = state === 'active' ? noOrder : `it is ordered to be ${state}${held}`
    const after = left === null ? '' : `; ${leftText(left, this.#target.node)}`
    if (!flags.json) print(`${this.#name}: nothing to change, ${before}${after}`)
    this.#tellOthers(directives)
    if (look.waiting.length > 0) note(`waiting for ${waitingText(look.waiting, this.#row.name)}`)
    this.#tellAgain(left)
  }

  async #follow(order: DirectiveOrder, orders: readonly DirectiveOrder[], changed: boolean): Promise<void> {
    const { flags, state } = this.#given
    const teller = startTeller(this.#row.name)
    const waited = await untilInterrupted(
      signal =>
        awaitDirective({
          socket: flags.socket,
          node: this.#row,
          order,
          orders,
          waitMs: timeoutOf(flags.timeout),
          signal,
          onLook: teller.look,
        }),
      () => note(interruptedText(this.#target, state)),
    ).finally(teller.stop)
    const left = waited === null ? null : await this.#left(waited.away !== null)
    this.#report(changed, waited ?? NOTHING_SEEN, orders, left)
    if (waited === null) return
    const { timeout } = flags
    await explain(waited, { target: this.#target, state, timeout, nodes: this.#nodes, ask: this.#ask })
    const text = left === null ? '' : leftText(left, this.#target.node)
    if (!waited.settled) {
      if (text !== '') note(`${this.#name}: ${text}`)
    } else if (!flags.json) {
      const held = this.#heldText(waited.rows, orders)
      print(outcomeText(this.#name, this.#target.app, state, waited.rows, { left: text, held }))
    }
    this.#tellAgain(left)
  }

  /** Connections that may go on; not asked for where they are to come again. */
  async #left(isAway = false): Promise<Left | null> {
    if (this.#given.state === 'active') return null
    const nodes = isAway
      ? this.#nodes.map(node => (node === this.#row ? { ...node, agent: 'dead' as const } : node))
      : this.#nodes
    return countLeft(this.#target, nodes, this.#ask)
  }

  #tellAgain(left: Left | null): void {
    if (left === null || this.#given.flags.json || leftNumber(left) === 0) return
    const inactive = this.#given.state === 'inactive' ? ' --inactive' : ''
    note(`shunt drain ${this.#name}${inactive} counts them again`)
  }

  /** What else holds the target back, or more than the order does. */
  #held(rows: Look['rows'], orders: readonly DirectiveOrder[]): Held[] {
    const { state } = this.#given
    return state === 'active'
      ? heldOf(this.#target, rows, orders)
      : stricterOf(this.#target, state, rows, orders)
  }

  #heldText(rows: Look['rows'], orders: readonly DirectiveOrder[]): string {
    const held = this.#held(rows, orders)
    return this.#given.state === 'active' ? heldText(held) : stricterText(held)
  }

  /** `; web is draining (overload)`, or ''. */
  #stillHeld(rows: Look['rows'], orders: readonly DirectiveOrder[]): string {
    const text = this.#heldText(rows, orders)
    return text === '' ? '' : `; ${text}`
  }

  #report(
    changed: boolean,
    { settled, waiting, rows }: Look,
    orders: readonly DirectiveOrder[],
    left: Left | null = null,
  ): void {
    const { command, state, flags } = this.#given
    if (!flags.json) return
    const { node, app } = this.#target
    const held = this.#held(rows, orders)
    const report: Report = { node, app, state, changed, settled, waiting, held }
    if (state !== 'active') report.connections = left === null ? null : leftNumber(left)
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
