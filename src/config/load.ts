/** Reads the node file of either kind and reports every error in it with its position. */
import { ShuntError } from '../errors.ts'
import { checkNodeConfig, checkWrongNodeConfig } from './checks.ts'
import { isManaged } from './compose.ts'
import { checkManagedFile, managedShape } from './managed-checks.ts'
import { type NodeConfig, type NodeFile, nodeConfigSchema, nodeFileSchema } from './schema.ts'
import { type FileKind, parseFile, readText } from './yaml-file.ts'

/** More than this is not a node file. */
const MAX_BYTES = 4 * 1024 * 1024

/** A file whose `cluster` has the key `secrets` describes a static cluster, and must do so whole. */
const saysStatic = (data: unknown): boolean => {
  const cluster = (data as { cluster?: unknown } | null)?.cluster
  return typeof cluster === 'object' && cluster !== null && 'secrets' in cluster
}

const KIND: FileKind<typeof nodeFileSchema> = {
  page: 'shunt-node.yaml(5)',
  shape: data => (saysStatic(data) ? [] : managedShape(data)),
  schema: data =>
    // The strict schema's output is the other's with nothing left out.
    saysStatic(data) ? (nodeConfigSchema as unknown as typeof nodeFileSchema) : nodeFileSchema,
  check: file => (isManaged(file) ? checkManagedFile(file) : checkNodeConfig(file as NodeConfig)),
  checkWrong: data => (saysStatic(data) ? checkWrongNodeConfig(data) : []),
}

export { composeConfig, isManaged } from './compose.ts'

/**
 * Parses and checks a node file's text; `file` is only used in messages.
 * @throws ShuntError SHUNT_ERR_CONFIG, one line an error: `file:line:col path: message`
 */
export const parseNodeFile = (text: string, file: string): NodeFile => parseFile(text, file, KIND)

/**
 * Reads, parses and checks the node file at `path`.
 * @throws ShuntError SHUNT_ERR_CONFIG, also when the file cannot be read
 */
export const loadNodeFile = (path: string): NodeFile =>
  parseNodeFile(readText(path, 'a node file', MAX_BYTES), path)

/** As parseNodeFile, of a static cluster only. */
export const parseNodeConfig = (text: string, file: string): NodeConfig => {
  const parsed = parseNodeFile(text, file)
  if (isManaged(parsed))
    throw new ShuntError(
      'SHUNT_ERR_CONFIG',
      `${file}: has no cluster.secrets and so is of a managed cluster; here one of a static cluster is needed`,
    )
  return parsed as NodeConfig
}

/** As loadNodeFile, of a static cluster only. */
export const loadNodeConfig = (path: string): NodeConfig =>
  parseNodeConfig(readText(path, 'a node file', MAX_BYTES), path)
