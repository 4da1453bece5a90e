/**
 * Compare-and-set for an operator's statements (decision 13): each names what it was made against, and is taken only if
 * that is still what this node holds. All or none. Pure.
 */
import { forwarder6Fault } from '../../cluster/join-facts.ts'
import { verifyStatement } from '../../cluster/statement.ts'
import type { ClusterView, Statement, StatementBody } from '../../cluster/types.ts'
import { parseDocument } from '../../config/document.ts'
import { ShuntError } from '../../errors.ts'

export const MAX_SUBMIT = 64

const conflict = (message: string): never => {
  throw new ShuntError('SHUNT_ERR_CONFLICT', message)
}
const refuse = (message: string): never => {
  throw new ShuntError('SHUNT_ERR_STATEMENT', message)
}

const memberNeeded = (view: ClusterView, id: string): ClusterView['members'][number] => {
  const member = view.members.find(m => m.id === id)
  return member ?? refuse(`no member has the id ${id}; shunt nodes shows the members`)
}

const checkConfig = (view: ClusterView, body: StatementBody & { kind: 'config' }): void => {
  const current = view.revisions.find(({ state }) => state === 'current')
  if (body.parent !== (current?.hash ?? '') || body.revision !== (current?.revision ?? 0) + 1)
    conflict(
      `the document in force is revision ${current?.revision ?? 0}${current === undefined ? '' : ` (${current.hash.slice(0, 8)})`}, not what this change was made against; look at it with shunt plan and apply again`,
    )
  try {
    parseDocument(body.text, 'document', view.members)
  } catch (error) {
    if (error instanceof ShuntError) refuse(error.message)
    throw error
  }
}

const checkBody = (view: ClusterView, statement: Statement): void => {
  const { body } = statement
  switch (body.kind) {
    case 'config':
      return checkConfig(view, body)
    case 'roles': {
      const member = memberNeeded(view, body.id)
      if (body.revision !== member.rolesRevision + 1)
        conflict(
          `the roles of ${member.name} were changed meanwhile; look at them with shunt nodes and try again`,
        )
      if (body.roles.includes('forwarder') && member.tunnel === undefined)
        refuse(
          `${member.name} has no tunnel address and cannot be a forwarder; it must join again with --tunnel`,
        )
      if (body.roles.includes('forwarder') && !member.roles.includes('forwarder')) {
        const why = forwarder6Fault(view, member)
        if (why !== undefined) refuse(why)
      }
      return
    }
    case 'directive': {
      const member = memberNeeded(view, body.id)
      const before = member.directives.find(({ app }) => app === body.app)
      if (body.revision !== (before?.revision ?? 0) + 1)
        conflict(
          `the directives of ${member.name} were changed meanwhile; look at them with shunt hosts and try again`,
        )
      if (
        body.app !== '*' &&
        body.state !== 'active' &&
        !view.document?.services.some(({ name }) => name === body.app)
      )
        refuse(`there is no service ${body.app} in the cluster document; shunt vips shows them`)
      return
    }
    case 'remove':
      // One that clashes with a member is no member, but can be removed for good.
      if (!view.conflicts.some(({ id }) => id === body.id)) memberNeeded(view, body.id)
      return
    case 'secret': {
      const newest = view.secrets[0].number
      if (body.number !== newest + 1)
        conflict(`the newest secret is ${newest}: keys were rotated meanwhile; try again`)
      return
    }
    case 'admit': {
      if (view.departed.some(({ id }) => id === body.node.id))
        refuse(`${body.node.name} was a member before; it needs a new identity`)
      return
    }
    case 'genesis':
      return refuse('the cluster exists already')
  }
}

/** @throws ShuntError SHUNT_ERR_CONFLICT or SHUNT_ERR_STATEMENT; `has` tells statements that are known already */
export const checkSubmit = (
  view: ClusterView,
  statements: readonly Statement[],
  has: (statement: Statement) => boolean,
): void => {
  if (statements.length < 1 || statements.length > MAX_SUBMIT)
    refuse(`1 to ${MAX_SUBMIT} statements are taken at a time, not ${statements.length}`)
  for (const statement of statements) {
    const why = verifyStatement(statement, view.cluster)
    if (why !== undefined) refuse(why)
    if (!has(statement)) checkBody(view, statement)
  }
}
