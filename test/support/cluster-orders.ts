/** Operators of a managed lab: documents, statements that they sign, and what the nodes make of them. */
import { readFileSync } from 'node:fs'
import { stringify } from 'yaml'
import { loadOperatorKey } from '../../src/cluster/operator-key.ts'
import { type Signer, signStatement, statementHash } from '../../src/cluster/statement.ts'
import type { Statement, StatementBody } from '../../src/cluster/types.ts'
import type { ClusterDocumentInput } from '../../src/config/document.ts'
import { post } from '../../src/control/client.ts'
import type {
  ClusterData,
  ConfigData,
  ConfigHistoryData,
  EventKind,
  EventRow,
  EventsData,
  NodesData,
  SubmitData,
} from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { operatorKeyFile } from '../../src/lab/node-config.ts'
import { labDir } from '../../src/lab/state.ts'
import { until, VIP } from './traffic.ts'

export type Operator = Signer & { readonly cluster: string }
export type ConfigBody = StatementBody & { kind: 'config' }

export const operatorOf = (lab: Lab): Operator => loadOperatorKey(operatorKeyFile(labDir(lab.name)))

/** The operator of nobody's cluster, who says that it is this one's. */
export const signed = (operator: Operator, body: StatementBody): Statement =>
  signStatement(operator.cluster, 'operator', body, operator)

export const submit = async (lab: Lab, node: string, statements: readonly unknown[]): Promise<SubmitData> =>
  (await post(lab.socket(node), '/v1/statements', { statements })).data as SubmitData

export const configOf = (lab: Lab, node: string, revision?: string): Promise<ConfigData> =>
  lab.api<ConfigData>(node, `/v1/config${revision === undefined ? '' : `?revision=${revision}`}`)
export const clusterOf = (lab: Lab, node: string): Promise<ClusterData> =>
  lab.api<ClusterData>(node, '/v1/cluster')
export const historyOf = async (lab: Lab, node: string): Promise<ConfigHistoryData['revisions']> =>
  (await lab.api<ConfigHistoryData>(node, '/v1/config/history')).revisions

/** A statement that replaces what `node` has in force, with what the test says otherwise. */
export const nextConfig = async (
  lab: Lab,
  node: string,
  text: string,
  more: Partial<ConfigBody> = {},
): Promise<ConfigBody> => {
  const { revision, hash } = await configOf(lab, node)
  return {
    kind: 'config',
    revision: revision + 1,
    parent: hash,
    text,
    note: '',
    atMs: Date.now(),
    ...more,
  }
}

/** Signs and submits at a node what replaces its document; gives the hash of the statement. */
export const applyAt = async (
  lab: Lab,
  node: string,
  text: string,
  more: Partial<ConfigBody> = {},
): Promise<string> => {
  const statement = signed(operatorOf(lab), await nextConfig(lab, node, text, more))
  await submit(lab, node, [statement])
  return statementHash(statement)
}

/** What a node has of the cluster: everything that a refused order must leave as it was. */
export interface Held {
  node: string
  digest: string
  statements: number
  configHash: string
  revision: number
}

export const heldBy = async (lab: Lab, node: string): Promise<Held> => {
  const { digest, statements, configHash } = await clusterOf(lab, node)
  const { revision } = await configOf(lab, node)
  return { node, digest, statements, configHash, revision }
}
export const names = (lab: Lab): string[] => lab.nodes.map(node => node.name)
export const heldByAll = (lab: Lab, nodes = names(lab)): Promise<Held[]> =>
  Promise.all(nodes.map(node => heldBy(lab, node)))

/** Until these nodes hold the same statements and have them in force, by their own word and by each other's. */
export const agreed = (lab: Lab, hash?: string, timeoutMs = 15_000, nodes = names(lab)): Promise<Held> =>
  until(
    'agreement',
    async () => {
      const held = await heldByAll(lab, nodes)
      const [first] = held
      if (held.some(each => each.digest !== first!.digest)) return
      if (hash !== undefined && first!.configHash !== hash) return
      for (const node of nodes) {
        const rows = (await lab.api<NodesData>(node, '/v1/nodes')).nodes.filter(r => nodes.includes(r.name))
        if (rows.some(row => !row.synced || row.revision !== first!.revision)) return
      }
      return first
    },
    timeoutMs,
  )

export const eventsOf = async (lab: Lab, node: string, ...kinds: EventKind[]): Promise<EventRow[]> =>
  (await lab.api<EventsData>(node, '/v1/events?limit=1000')).events.filter(event =>
    kinds.includes(event.kind),
  )

export interface PoolPlan {
  [host: string]: number
}

type ServiceInput = NonNullable<ClusterDocumentInput['services']>[number]

/** A document; `timeouts` as short as tests need them. */
export const documentText = (
  pools: Record<string, PoolPlan>,
  services: (Omit<ServiceInput, 'vip' | 'protocol'> & { vip?: string })[],
  timeouts: ClusterDocumentInput['timeouts'] = {},
): string =>
  stringify({
    version: 1,
    pools: Object.entries(pools).map(([name, hosts]) => ({
      name,
      hosts: Object.entries(hosts).map(([host, capacity]) => ({ name: host, capacity })),
    })),
    services: services.map(({ vip = VIP, ...service }) => ({ ...service, vip, protocol: 'tcp' as const })),
    timeouts,
  } satisfies ClusterDocumentInput)

/** VIPs on the loopback device of a host. */
export const vipsOn = async (lab: Lab, host: string): Promise<string[]> => {
  const { stdout } = await lab.exec(host, ['ip', '-4', '-o', 'addr', 'show', 'dev', 'lo'])
  return [...stdout.matchAll(/inet (10\.99\.\d+\.\d+)\//g)].map(match => match[1]!).sort()
}

/** Of the log of an agent. */
export const agentLog = (lab: Lab, node: string): string => readFileSync(lab.files(node).agentLog, 'utf8')

/**
 * Parts the rack's switch: no frame passes between `side` and all other nodes; both keep the router and their own.
 * @returns heals it
 */
export const partition = async (lab: Lab, side: readonly string[]): Promise<() => Promise<void>> => {
  const ports = (nodes: readonly string[]): string => `{ ${nodes.map(n => `"to-${n}"`).join(', ')} }`
  const other = names(lab).filter(name => !side.includes(name))
  const nft = async (script: string): Promise<void> => {
    const { code, stderr } = await lab.exec('switch', ['nft', '-f', '-'], { input: script })
    if (code !== 0) throw new Error(stderr)
  }
  await nft(`table bridge partition {
    chain forward {
      type filter hook forward priority 0; policy accept;
      iifname ${ports(side)} oifname ${ports(other)} drop
      iifname ${ports(other)} oifname ${ports(side)} drop
    }
  }`)
  return () => nft('delete table bridge partition')
}

/** What an agent answers to a body as it is, right or wrong. */
export const rawSubmit = async (lab: Lab, node: string, body: unknown): Promise<string> => {
  try {
    await post(lab.socket(node), '/v1/statements', body)
    return 'taken'
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`
  }
}
