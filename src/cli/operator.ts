/** What commands that change the cluster share: the operator's key, signing, sending, asking before. */
import { createInterface } from 'node:readline/promises'
import { Flags } from '@oclif/core'
import type { Signer } from '../cluster/statement.ts'
import type { StatementBody } from '../cluster/types.ts'
import { DEFAULT_CONTROL_SOCKET } from '../control/defaults.ts'
import type { ClusterData, NodesData, SubmitBody, SubmitData } from '../control/types.ts'
import { ShuntError } from '../errors.ts'

export const DEFAULT_OPERATOR_KEY = '/etc/shunt/operator.key'

export const socketFlag = Flags.string({
  description: "The agent's control socket.",
  env: 'SHUNT_SOCKET',
  default: DEFAULT_CONTROL_SOCKET,
  helpValue: 'PATH',
})
export const yesFlag = Flags.boolean({
  char: 'y',
  description: 'Do it without asking; needed where nobody can be asked.',
})
export const operatorKeyFlag = Flags.string({
  description:
    "The operator's private key (made by shunt init). It is read here and never given to an agent.",
  env: 'SHUNT_OPERATOR_KEY',
  default: DEFAULT_OPERATOR_KEY,
  helpValue: 'FILE',
})
export const operatorFlags = { socket: socketFlag, 'operator-key': operatorKeyFlag, yes: yesFlag }

export interface OperatorFlags {
  socket: string
  'operator-key': string
  yes: boolean
  json: boolean
}

export type Operator = Signer & { readonly cluster: string }

/** @throws ShuntError SHUNT_ERR_IDENTITY when the key file is missing, damaged or open to others */
export const loadOperator = async (flags: Pick<OperatorFlags, 'operator-key'>): Promise<Operator> => {
  const { loadOperatorKey } = await import('../cluster/operator-key.ts')
  return loadOperatorKey(flags['operator-key'])
}

export const dataOf = async <T>(socket: string, path: string, signal?: AbortSignal): Promise<T> => {
  const { get } = await import('../control/client.ts')
  return (await get(socket, path, signal)).data as T
}
export const askCluster = (socket: string): Promise<ClusterData> => dataOf(socket, '/v1/cluster')
export const askNodes = (socket: string, signal?: AbortSignal): Promise<NodesData> =>
  dataOf(socket, '/v1/nodes', signal)

/**
 * What the agent knows of the cluster, once it is sure that it is the operator's.
 * @throws ShuntError SHUNT_ERR_GUARD when the agent is of a static cluster or of another operator's
 */
export const askOwnCluster = async (socket: string, operator: Operator): Promise<ClusterData> => {
  const data = await askCluster(socket)
  if (data.mode === 'static')
    throw new ShuntError(
      'SHUNT_ERR_GUARD',
      `the cluster of ${data.node.name} is static (its node files have cluster.secrets): edit the files of its nodes and restart their agents`,
    )
  if (data.cluster !== operator.cluster)
    throw new ShuntError(
      'SHUNT_ERR_GUARD',
      `the operator key is of the cluster ${operator.cluster}, the agent on ${socket} of ${data.cluster}; give the right --operator-key or --socket`,
    )
  return data
}

/**
 * Signs each body as the operator and hands all to the agent, which takes all or none.
 * @throws ShuntError SHUNT_ERR_GUARD (another cluster), SHUNT_ERR_CONFLICT (another change came first), SHUNT_ERR_STATEMENT
 */
export const sendStatements = async (
  socket: string,
  bodies: readonly StatementBody[],
  operator: Operator,
): Promise<SubmitData> => {
  await askOwnCluster(socket, operator)
  const [{ signStatement }, { post }] = await Promise.all([
    import('../cluster/statement.ts'),
    import('../control/client.ts'),
  ])
  const body: SubmitBody = {
    statements: bodies.map(each => signStatement(operator.cluster, 'operator', each, operator)),
  }
  return (await post(socket, '/v1/statements', body)).data as SubmitData
}

/**
 * Asks on a terminal; elsewhere `yes` must have been given.
 * @throws ShuntError SHUNT_ERR_GUARD without a yes
 */
export const confirm = async (question: string, { yes }: { yes: boolean }): Promise<void> => {
  if (yes) return
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true)
    throw new ShuntError('SHUNT_ERR_GUARD', `${question} Nobody can be asked here: give --yes to do it`)
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  // At the end of input readline never answers.
  const ended = new AbortController()
  lines.once('close', () => ended.abort())
  try {
    const answer = await lines.question(`${question} [y/N] `, { signal: ended.signal }).catch(() => '')
    if (!/^y(es)?$/i.test(answer.trim()))
      throw new ShuntError('SHUNT_ERR_GUARD', 'not confirmed; nothing was changed')
  } finally {
    lines.close()
  }
}
