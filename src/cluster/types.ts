/**
 * What a managed cluster agrees on (architecture decisions 9 and 13): signed statements, and the view of them that every
 * node computes alike. A statement proves itself by the operator's public key alone (which is the cluster's id), so the
 * order in which statements arrive does not matter and no node has to be trusted for what it passes on.
 */
import type { ClusterDocument } from '../config/document.ts'
import type { Role } from '../config/schema.ts'
import type { DirectiveState } from '../health/types.ts'

/** Where a node is reached, and what it may do. */
export interface NodeFacts {
  /** Peer id, 12D3KooW… */
  id: string
  name: string
  address: string
  /** Source of tunnelled packets; a node without one cannot be a forwarder. */
  tunnel?: string
  /** IPv6: where tunnelled packets go to it; a host without one takes none of IPv6 services. */
  address6?: string
  /** IPv6: source of tunnelled packets; a forwarder without one carries no IPv6 services. */
  tunnel6?: string
  roles: Role[]
}

/** The operator's leave for machines to join; signed by the operator, redeemed only at the node that it names. */
export interface TokenBody {
  /** nanoid, 21 characters. */
  token: string
  /** Peer id of the node at which it is redeemed, which alone counts its uses. */
  issuer: string
  roles: Role[]
  /** 1 to 1000. */
  uses: number
  /**
   * Unix milliseconds of the operator's clock. An admission by the token bears a time of these two or between, which its issuer
   * chooses; so whose claim comes first is decided by `issuedMs`.
   */
  issuedMs: number
  /** Unix milliseconds, later than `issuedMs`. */
  expiresMs: number
}

/** Statement bodies. Times are Unix milliseconds of the signer's clock, shown to people and used to break ties. */
export type StatementBody =
  /** Operator. Once a cluster. `choiceSeed`: 32 bytes, base64, of the deterministic choice (decision 6); never changes. */
  | {
      kind: 'genesis'
      name: string
      atMs: number
      choiceSeed: string
      controlPort: number
      mappingPort: number
    }
  /** Operator, or the issuer of `token`; with a token also the node's own signature of its facts (`proof`). */
  | {
      kind: 'admit'
      node: NodeFacts
      atMs: number
      token?: { body: TokenBody; signature: string; slot: number }
      proof?: string
    }
  /** Operator. Replaces the roles of a member; `revision` counts from 1 for each node. */
  | { kind: 'roles'; id: string; roles: Role[]; revision: number; atMs: number }
  /**
   * Operator. What load balancing units are to do with a host's applications (R-B6): `app` is a service's name, or '*' for all of
   * them; `state` active withdraws the order. `revision` counts from 1 for each (node, app).
   */
  | { kind: 'directive'; id: string; app: string; state: DirectiveState; revision: number; atMs: number }
  /** Operator (evicted) or the node itself (left). For ever: a node that comes back has a new identity. */
  | { kind: 'remove'; id: string; reason: 'left' | 'evicted'; atMs: number }
  /**
   * Operator. A cluster secret (32 bytes, base64); `number` counts from 1. Earlier ones end `graceMs` after it is known.
   * `excludes`: nodes that are evicted by it, so that it can never be passed on to them.
   */
  | { kind: 'secret'; number: number; secret: string; graceMs: number; excludes: string[]; atMs: number }
  /** Operator. A revision of the cluster document, as YAML text; `parent`: hash of the revision that it replaces, or ''. */
  | { kind: 'config'; revision: number; parent: string; text: string; note: string; atMs: number }

export type StatementKind = StatementBody['kind']

/** A body with its signature. `by`: 'operator' or a peer id. `signature`: Ed25519, base64. `cluster`: the operator's public key. */
export interface Statement {
  cluster: string
  by: string
  body: StatementBody
  signature: string
}

/** An operator's order about a host's applications (R-B6). */
export interface DirectiveOrder {
  /** Name of a service, or '*'. */
  app: string
  state: DirectiveState
  revision: number
}

export interface Member extends NodeFacts {
  joinedMs: number
  /** Revision of the roles statement in force, 0 for those of the admission. */
  rolesRevision: number
  /** In order of `app`; those that were withdrawn too, for their revisions. */
  directives: DirectiveOrder[]
}

export interface Departed {
  id: string
  name: string
  reason: 'left' | 'evicted'
  atMs: number
}

/** An admission whose name, address or tunnel address another one has before it, or whose place of its token. */
export interface Conflict {
  id: string
  name: string
  why: string
}

export interface ConfigRevision {
  revision: number
  /** SHA-256 of the statement, hexadecimal. */
  hash: string
  parent: string
  text: string
  note: string
  atMs: number
  /** `lost`: accepted somewhere, but another revision won; its text can be applied again. */
  state: 'current' | 'past' | 'lost'
}

export interface ClusterSecret {
  number: number
  bytes: Uint8Array
  graceMs: number
  /** Hash of its statement, hexadecimal. */
  hash: string
}

/** What all statements together say: a function of the set alone. */
export interface ClusterView {
  /** Operator's public key, base64url: the id of the cluster. */
  cluster: string
  name: string
  choiceSeed: Uint8Array
  controlPort: number
  mappingPort: number
  /** In order of names. */
  members: Member[]
  departed: Departed[]
  conflicts: Conflict[]
  /** Newest first. */
  secrets: ClusterSecret[]
  /** Newest first; the first of state `current` is in force. */
  revisions: ConfigRevision[]
  /** The document in force, null before the first apply. */
  document: ClusterDocument | null
}
