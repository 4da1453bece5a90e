/** What has happened between two views, as events for people. Pure. */
import { KEPT_IN_SLOT } from '../../cluster/precedence.ts'
import type { ClusterView, Member } from '../../cluster/types.ts'
import type { EventKind, EventRow } from '../../control/cluster-types.ts'
import type { DirectiveState } from '../../health/types.ts'

export interface ViewEvent {
  readonly kind: EventKind
  readonly severity: EventRow['severity']
  readonly subject: string
  readonly text: string
}

const event = (
  kind: EventKind,
  subject: string,
  text: string,
  severity: EventRow['severity'] = 'info',
): ViewEvent => ({ kind, severity, subject, text })

const ORDERED: Record<DirectiveState, (where: string) => string> = {
  active: where => `the operator ended the order about ${where}`,
  draining: where => `the operator ordered: no new connections to ${where}`,
  inactive: where => `the operator ordered: no packets at all to ${where}`,
}
const orderText = (host: string, app: string, state: DirectiveState): string =>
  ORDERED[state](app === '*' ? host : `${app} on ${host}`)

const memberEvents = (before: ClusterView, now: ClusterView): ViewEvent[] => {
  const old = new Map<string, Member>(before.members.map(member => [member.id, member]))
  const out: ViewEvent[] = []
  for (const member of now.members) {
    const earlier = old.get(member.id)
    const roles = member.roles.join(', ') || 'none'
    if (earlier === undefined)
      out.push(
        event('member.joined', member.name, `${member.name} joined at ${member.address}, roles ${roles}`),
      )
    else if (earlier.roles.join() !== member.roles.join())
      out.push(
        event(
          'member.roles',
          member.name,
          `roles of ${member.name} are now ${roles} (were ${earlier.roles.join(', ') || 'none'})`,
        ),
      )
  }
  for (const member of now.members) {
    const earlier = old.get(member.id)?.directives ?? []
    for (const { app, state, revision } of member.directives) {
      if (earlier.some(order => order.app === app && order.revision === revision)) continue
      out.push(event('directive.ordered', member.name, orderText(member.name, app, state)))
    }
  }
  const known = new Set(before.departed.map(({ id }) => id))
  for (const { id, name, reason } of now.departed) {
    if (known.has(id)) continue
    if (reason === 'left') out.push(event('member.left', name, `${name} has left the cluster`))
    else out.push(event('member.evicted', name, `${name} was evicted from the cluster`, 'warning'))
  }
  const conflicts = new Set(before.conflicts.map(({ id }) => id))
  for (const { id, name, why } of now.conflicts)
    if (!conflicts.has(id))
      out.push(event('member.conflict', name, `${name} (${id}) is no member: ${why}`, 'error'))
  const still = new Set([...now.members, ...now.departed, ...now.conflicts].map(({ id }) => id))
  for (const { id, name } of before.members)
    if (!still.has(id))
      out.push(
        event(
          'member.conflict',
          name,
          `${name} (${id}) is no member: the node at which it joined gave its place of the token to ${KEPT_IN_SLOT} others`,
          'error',
        ),
      )
  return out
}

const configEvents = (before: ClusterView, now: ClusterView): ViewEvent[] => {
  const stateOf = new Map(before.revisions.map(revision => [revision.hash, revision.state]))
  const out: ViewEvent[] = []
  for (const { hash, revision, state, note } of now.revisions) {
    if (state === stateOf.get(hash)) continue
    const remark = note === '' ? '' : ` (${note})`
    if (state === 'current')
      out.push(
        event(
          'config.applied',
          '-',
          `revision ${revision} of the cluster document is the one in force${remark}`,
        ),
      )
    if (state === 'lost')
      out.push(
        event(
          'config.lost',
          '-',
          `revision ${revision}, ${hash.slice(0, 8)}${remark}, lost against another made at the same time; shunt config show ${hash.slice(0, 8)} has its text, apply it again if it is wanted`,
          'warning',
        ),
      )
  }
  return out
}

export const viewEvents = (before: ClusterView, now: ClusterView): ViewEvent[] => {
  const newest = now.secrets[0]?.number
  const rotated =
    newest === before.secrets[0]?.number
      ? []
      : [event('keys.rotated', '-', `cluster secret ${newest} replaces ${before.secrets[0]?.number}`)]
  return [...memberEvents(before, now), ...configEvents(before, now), ...rotated]
}
