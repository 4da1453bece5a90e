/** What all statements together say: a pure function of the set, so that every node that holds the same ones agrees. */
import type { ClusterDocument } from '../config/document.ts'
import { parsedDocument } from './documents.ts'
import type { Ledger } from './ledger.ts'
import { membership } from './membership.ts'
import { configOrder, type Entry, secretOrder } from './precedence.ts'
import type { ClusterSecret, ClusterView, ConfigRevision, StatementBody, StatementKind } from './types.ts'

/** A statement of one kind with its hash. */
export interface Said<K extends StatementKind> {
  hash: string
  entry: Entry
  body: Extract<StatementBody, { kind: K }>
}

/** The statements of one kind. */
export const saidOf =
  (entries: readonly Entry[]) =>
  <K extends StatementKind>(kind: K): Said<K>[] =>
    entries
      .filter(e => e.statement.body.kind === kind)
      .map(entry => ({ hash: entry.hash, entry, body: entry.statement.body as Said<K>['body'] }))

const secretsOf = (said: Said<'secret'>[]): ClusterSecret[] => {
  const best = new Map<number, ClusterSecret>()
  for (const { hash, body } of said.sort((a, b) => secretOrder(a.entry, b.entry)))
    if (!best.has(body.number))
      best.set(body.number, {
        number: body.number,
        bytes: new Uint8Array(Buffer.from(body.secret, 'base64')),
        graceMs: body.graceMs,
        hash,
      })
  return [...best.values()]
}

/** A text that this version cannot read is passed over, as a newer version may have applied it: what was in force stays. */
const revisionsOf = (
  said: Said<'config'>[],
): { revisions: ConfigRevision[]; document: ClusterDocument | null } => {
  said.sort((a, b) => configOrder(a.entry, b.entry))
  const current = said.find(({ hash, body }) => parsedDocument(hash, body.text) !== null)
  const states = new Map<string, ConfigRevision['state']>()
  const byHash = new Map(said.map(s => [s.hash, s]))
  for (let at = current; at !== undefined && !states.has(at.hash); at = byHash.get(at.body.parent))
    states.set(at.hash, at === current ? 'current' : 'past')
  const revisions = said.map(({ hash, body: { revision, parent, text, note, atMs } }) => ({
    revision,
    hash,
    parent,
    text,
    note,
    atMs,
    state: states.get(hash) ?? 'lost',
  }))
  return {
    revisions,
    document: current === undefined ? null : parsedDocument(current.hash, current.body.text),
  }
}

/** Null until the genesis and a secret are known. */
export const clusterView = (ledger: Ledger): ClusterView | null => {
  const said = saidOf(ledger.entries())
  const [genesis] = said('genesis')
  const secrets = secretsOf(said('secret'))
  if (genesis === undefined || secrets.length === 0) return null
  const { name, choiceSeed, controlPort, mappingPort } = genesis.body
  return {
    cluster: ledger.cluster,
    name,
    choiceSeed: new Uint8Array(Buffer.from(choiceSeed, 'base64')),
    controlPort,
    mappingPort,
    ...membership(said),
    secrets,
    ...revisionsOf(said('config')),
  }
}
