/**
 * Which statement supersedes which. Every rule is a total order over statements of one place and a number of them that are
 * kept: the best k of a set do not depend on the order in which it was gathered, so all nodes keep the same ones.
 */
import type { Statement, StatementKind } from './types.ts'

export interface Entry {
  /** SHA-256 of the statement, hexadecimal. */
  hash: string
  /** Its encoding. */
  bytes: Uint8Array
  statement: Statement
}
/** Negative: `a` comes before `b`, and supersedes it. */
export type Order = (a: Entry, b: Entry) => number
export interface Place {
  key: string
  keep: number
  order: Order
}

/** Later ones than these are not in force and only tell what was once said. */
export const KEPT_REVISIONS = 32
export const KEPT_SECRETS = 8
/** Admissions of one place of a token: the first is in force, the others tell why their nodes are no members. */
export const KEPT_IN_SLOT = 3

const textOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
/** Earliest first. */
export const byTime: Order = (a, b) =>
  a.statement.body.atMs - b.statement.body.atMs || textOrder(a.hash, b.hash)

const claimOf = ({ statement: { body } }: Entry): { byToken: boolean; signedMs: number } => {
  const token = body.kind === 'admit' ? body.token?.body : undefined
  return { byToken: token !== undefined, signedMs: token?.issuedMs ?? body.atMs }
}

/**
 * Whose claim to a name or an address comes first: the operator's admissions, then those by tokens in the order in which the operator
 * made these. The issuer of a token chooses the time of an admission, so that time decides only between those of one token:
 * nobody who was admitted before a token was made can lose anything by it.
 */
export const byClaim: Order = (a, b) => {
  const [x, y] = [claimOf(a), claimOf(b)]
  return Number(x.byToken) - Number(y.byToken) || x.signedMs - y.signedMs || byTime(a, b)
}

/** The operator's word first: a node cannot make its eviction look like its own leave. */
const removalOrder: Order = (a, b) =>
  Number(b.statement.by === 'operator') - Number(a.statement.by === 'operator') || byTime(a, b)

const bodyOf = <K extends Statement['body']['kind']>(entry: Entry, _kind: K) =>
  entry.statement.body as Extract<Statement['body'], { kind: K }>

const directiveOrder: Order = (a, b) =>
  bodyOf(b, 'directive').revision - bodyOf(a, 'directive').revision || textOrder(b.hash, a.hash)

const rolesOrder: Order = (a, b) =>
  bodyOf(b, 'roles').revision - bodyOf(a, 'roles').revision || textOrder(b.hash, a.hash)

/** Of two with one number the one that keeps out more wins: the other may have reached a node that is evicted. */
export const secretOrder: Order = (a, b) => {
  const [x, y] = [bodyOf(a, 'secret'), bodyOf(b, 'secret')]
  return y.number - x.number || y.excludes.length - x.excludes.length || textOrder(b.hash, a.hash)
}

export const configOrder: Order = (a, b) => {
  const [x, y] = [bodyOf(a, 'config'), bodyOf(b, 'config')]
  return y.revision - x.revision || y.atMs - x.atMs || textOrder(b.hash, a.hash)
}

/** The place that a statement competes for. */
export const placeOf = ({ body }: Statement): Place => {
  switch (body.kind) {
    case 'genesis':
      return { key: 'genesis', keep: 1, order: byTime }
    case 'admit':
      return body.token === undefined
        ? { key: `admit ${body.node.id}`, keep: 1, order: byTime }
        : { key: `slot ${body.token.body.token} ${body.token.slot}`, keep: KEPT_IN_SLOT, order: byTime }
    case 'roles':
      return { key: `roles ${body.id}`, keep: 1, order: rolesOrder }
    case 'directive':
      return { key: `directive ${body.id} ${body.app}`, keep: 1, order: directiveOrder }
    case 'remove':
      return { key: `remove ${body.id}`, keep: 1, order: removalOrder }
    case 'secret':
      return { key: 'secret', keep: KEPT_SECRETS, order: secretOrder }
    case 'config':
      return { key: 'config', keep: KEPT_REVISIONS, order: configOrder }
  }
}

const TELLING_ORDER: Record<StatementKind, number> = {
  genesis: 0,
  admit: 1,
  remove: 2,
  roles: 3,
  secret: 4,
  config: 5,
  directive: 6,
}

/**
 * The order in which statements are told, stored and taken in: admissions before removals, since a node's own leave counts only
 * beside one; removals before secrets, so that nobody holds a secret without knowing who is not to have it.
 */
export const inTellingOrder = <T extends { statement: Statement }>(items: readonly T[]): T[] =>
  items.toSorted((a, b) => TELLING_ORDER[a.statement.body.kind] - TELLING_ORDER[b.statement.body.kind])
