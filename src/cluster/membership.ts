/**
 * Who is a member. Admissions are taken in order of their claims (precedence.ts); one whose name or address a member before it has
 * is no member but a conflict, shown to the operator, who evicts one of the two.
 *
 * A place of a token is its first admission's for ever, also when that node is removed. An issuer that gives one to two nodes can
 * so take out nodes that joined at it, and nobody else; the conflict names it. Admissions by an evicted issuer still count, since no clock
 * but its own says which came before: who does not trust it evicts the nodes that it let in as well.
 */
import { addressesOf } from './fact-addresses.ts'
import { byClaim, byTime, type Entry, type Order } from './precedence.ts'
import type { ClusterView, Conflict, Departed, Member, StatementKind } from './types.ts'
import type { Said } from './view.ts'

type Statements = <K extends StatementKind>(kind: K) => Said<K>[]
type Admission = Said<'admit'>

const textOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const firstBy = <T extends { entry: Entry }>(items: T[], order: Order, key: (item: T) => string) => {
  const first = new Map<string, T>()
  for (const item of items.toSorted((a, b) => order(a.entry, b.entry)))
    if (!first.has(key(item))) first.set(key(item), item)
  return first
}

interface Outbid {
  admission: Admission
  /** Who has its place of the token. */
  by: Admission
}

/** The admission in force of each peer id, and those whose token place another one has. */
const admissionsOf = (all: Admission[]): { inForce: Admission[]; outbid: Outbid[] } => {
  const placeOf = ({ hash, body: { token } }: Admission): string =>
    token === undefined ? hash : `${token.body.token} ${token.slot}`
  const placed = firstBy(all, byTime, placeOf)
  const inForce = firstBy([...placed.values()], byClaim, a => a.body.node.id)
  const losers = all.filter(a => !inForce.has(a.body.node.id))
  return {
    inForce: [...inForce.values()],
    outbid: [...firstBy(losers, byClaim, a => a.body.node.id).values()].map(admission => ({
      admission,
      by: placed.get(placeOf(admission))!,
    })),
  }
}

/** Only an issuer can do that, which counts the places of its tokens. */
const equivocation = ({ admission, by }: Outbid, nameOf: (id: string) => string): string =>
  `${nameOf(admission.body.token!.body.issuer)} gave the same place of a join token to ${by.body.node.name} as well: unless it was put back from an old backup, it cannot be trusted and is to be evicted, and the nodes that joined at it too`

interface Removal {
  reason: 'left' | 'evicted'
  atMs: number
}
const removalsOf = (said: Statements): Map<string, Removal> => {
  const removals = new Map<string, Removal>()
  for (const { body } of said('secret'))
    for (const id of body.excludes)
      removals.set(id, {
        reason: 'evicted',
        atMs: Math.min(body.atMs, removals.get(id)?.atMs ?? Number.POSITIVE_INFINITY),
      })
  for (const { body } of said('remove'))
    if (!removals.has(body.id) || body.reason === 'evicted')
      removals.set(body.id, { reason: body.reason, atMs: body.atMs })
  return removals
}

const memberOf = (
  { body }: Admission,
  roles: Map<string, Said<'roles'>>,
  orders: readonly Said<'directive'>[],
): Member => {
  const { node } = body
  const changed = roles.get(node.id)?.body
  const wanted = changed?.roles ?? node.roles
  return {
    ...node,
    // A forwarder is known by its tunnel address.
    roles: wanted.filter(role => role !== 'forwarder' || node.tunnel !== undefined),
    joinedMs: body.atMs,
    rolesRevision: changed?.revision ?? 0,
    directives: orders
      .filter(order => order.body.id === node.id)
      .map(({ body: { app, state, revision } }) => ({ app, state, revision }))
      .sort((a, b) => textOrder(a.app, b.app)),
  }
}

export const membership = (said: Statements): Pick<ClusterView, 'members' | 'departed' | 'conflicts'> => {
  const { inForce, outbid } = admissionsOf(said('admit'))
  const removals = removalsOf(said)
  const roles = new Map(said('roles').map(s => [s.body.id, s]))
  const orders = said('directive')
  const members: Member[] = []
  const departed: Departed[] = []
  const conflicts: Conflict[] = []
  const taken = new Map<string, Member>()
  for (const admission of inForce.sort((a, b) => byClaim(a.entry, b.entry))) {
    const { id, name } = admission.body.node
    const removal = removals.get(id)
    if (removal !== undefined) {
      departed.push({ id, name, ...removal })
      continue
    }
    const claims = [`name ${name}`, ...addressesOf(admission.body.node).map(address => `address ${address}`)]
    const claim = claims.find(c => taken.has(c))
    if (claim !== undefined) {
      conflicts.push({ id, name, why: `${taken.get(claim)!.name} has the ${claim} already` })
      continue
    }
    const member = memberOf(admission, roles, orders)
    members.push(member)
    for (const c of claims) taken.set(c, member)
  }
  const names = new Map(inForce.map(({ body: { node } }) => [node.id, node.name]))
  for (const each of outbid) {
    const { id, name } = each.admission.body.node
    const removal = removals.get(id)
    if (removal !== undefined) departed.push({ id, name, ...removal })
    else conflicts.push({ id, name, why: equivocation(each, issuer => names.get(issuer) ?? issuer) })
  }
  const byName = (a: { name: string; id: string }, b: { name: string; id: string }): number =>
    textOrder(a.name, b.name) || textOrder(a.id, b.id)
  return { members: members.sort(byName), departed: departed.sort(byName), conflicts: conflicts.sort(byName) }
}
