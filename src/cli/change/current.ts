/** What the cluster runs by now, and what a new document would change in it. */
import type { ClusterDocument, DocumentMember } from '../../config/document.ts'
import type { Change } from '../../config/document-diff.ts'
import { get } from '../../control/client.ts'
import type { ConfigData, Envelope, NodesData } from '../../control/types.ts'
import { ShuntError } from '../../errors.ts'

/** @throws ShuntError SHUNT_ERR_USAGE for what is neither a number nor a hash */
export const configPath = (revision?: string): string => {
  if (revision === undefined) return '/v1/config'
  if (!/^([1-9][0-9]{0,9}|[0-9a-f]{8,64})$/i.test(revision))
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      `${revision} is no revision: give a number or 8 or more digits of a hash; shunt config history lists them`,
    )
  return `/v1/config?${new URLSearchParams({ revision: revision.toLowerCase() })}`
}

export const askConfig = async (
  socket: string,
  revision?: string,
  signal?: AbortSignal,
): Promise<Envelope<ConfigData>> => (await get(socket, configPath(revision), signal)) as Envelope<ConfigData>

export interface Current {
  /** The node that answers. */
  node: string
  config: ConfigData
  members: DocumentMember[]
}

/** @throws ShuntError SHUNT_ERR_GUARD when the cluster is static */
export const askCurrent = async (socket: string): Promise<Current> => {
  const nodes = (await get(socket, '/v1/nodes')) as Envelope<NodesData>
  if (nodes.data.mode === 'static')
    throw new ShuntError(
      'SHUNT_ERR_GUARD',
      `the cluster of ${nodes.node} is static (its node files have cluster.secrets): its services stand in the files of its nodes; edit those and restart the agents`,
    )
  const { node, data } = await askConfig(socket)
  return { node, config: data, members: nodes.data.nodes }
}

export interface Plan {
  text: string
  changes: Change[]
  warnings: string[]
}

/**
 * What `text` changes; an error or a warning about it names `file`.
 * @throws ShuntError SHUNT_ERR_CONFIG when it is not right, or does not fit the members
 */
export const planOf = async (text: string, file: string, current: Current): Promise<Plan> => {
  const [{ documentWarnings, parseDocument }, { diffDocuments }] = await Promise.all([
    import('../../config/document.ts'),
    import('../../config/document-diff.ts'),
  ])
  const document = parseDocument(text, file, current.members)
  const { config } = current
  const before: ClusterDocument | null =
    config.revision === 0 ? null : parseDocument(config.text, `revision ${config.revision}`)
  return {
    text,
    changes: diffDocuments(before, document),
    warnings: documentWarnings(document, current.members),
  }
}
