/**
 * Who is a member. Admissions are taken in order of (time, peer id); one whose name or address an earlier member has is no
 * member but a conflict, shown to the operator, who evicts one of the two.
 */
import { byHash, byTime, type Entry, type Order } from './precedence.ts'
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

/** The admission in force of each peer id, and those whose token place another one has. */
const admissionsOf = (all: Admission[]): { inForce: Admission[]; outbid: Admission[] } => {
  const placeOf = ({ hash, body: { token } }: Admission): string =>
    token === undefined ? hash : `${token.body.token} ${token.slot}`
  const placed = [...firstBy(all, byHash, placeOf).values()]
  const inForce = firstBy(placed, byTime, a => a.body.node.id)
  const losers = all.filter(a => !inForce.has(a.body.node.id))
  return {
    inForce: [...inForce.values()],
    outbid: [...firstBy(losers, byTime, a => a.body.node.id).values()],
  }
}

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
  const candidates = inForce.sort(
    (a, b) => a.body.atMs - b.body.atMs || textOrder(a.body.node.id, b.body.node.id),
  )
  for (const admission of candidates) {
    const { id, name, address, tunnel } = admission.body.node
    const removal = removals.get(id)
    if (removal !== undefined) {
      departed.push({ id, name, ...removal })
      continue
    }
    const claims = [
      `name ${name}`,
      `address ${address}`,
      ...(tunnel === undefined ? [] : [`address ${tunnel}`]),
    ]
    const claim = claims.find(c => taken.has(c))
    if (claim !== undefined) {
      conflicts.push({ id, name, why: `${taken.get(claim)!.name} has the ${claim} already` })
      continue
    }
    const member = memberOf(admission, roles, orders)
    members.push(member)
    for (const c of claims) taken.set(c, member)
  }
  for (const { body } of outbid) {
    const { id, name } = body.node
    const removal = removals.get(id)
    if (removal !== undefined) departed.push({ id, name, ...removal })
    else conflicts.push({ id, name, why: 'another node has its place of the join token' })
  }
  const byName = (a: { name: string; id: string }, b: { name: string; id: string }): number =>
    textOrder(a.name, b.name) || textOrder(a.id, b.id)
  return { members: members.sort(byName), departed: departed.sort(byName), conflicts: conflicts.sort(byName) }
}
