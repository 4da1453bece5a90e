/** Tells the two kinds of configuration files apart before they are checked. */
import { parseDocument } from 'yaml'

export const FILE_KINDS = ['node', 'cluster'] as const
export type ConfigKind = (typeof FILE_KINDS)[number]

/** Keys that only the one kind has. */
const OWN_KEYS: Record<ConfigKind, readonly string[]> = {
  node: ['node', 'roles', 'interfaces', 'addresses', 'cluster', 'peers', 'limits', 'log'],
  cluster: ['pools'],
}

/** True for a text with nothing in it, which may be meant to be of either kind. */
export const isEmptyText = (text: string): boolean =>
  text.split('\n').every(line => /^\s*(#.*|---|\.\.\.)?\s*$/.test(line))

/** What a text is by its first level; where that does not tell, a cluster document if it has services, else a node file. */
export const kindOfText = (text: string): ConfigKind => {
  let keys: string[]
  try {
    const data: unknown = parseDocument(text, { prettyErrors: false }).toJS({ maxAliasCount: 100 })
    keys = typeof data === 'object' && data !== null ? Object.keys(data) : []
  } catch {
    return 'node'
  }
  for (const kind of FILE_KINDS) if (OWN_KEYS[kind].some(key => keys.includes(key))) return kind
  return keys.includes('services') ? 'cluster' : 'node'
}
