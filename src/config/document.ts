/**
 * The cluster document: what the operator describes once for the whole cluster (architecture decision 13). The zod schema is
 * the one source of the TypeScript type, of schema/cluster.schema.json and of shunt-cluster.yaml(5). Every node parses the
 * same signed text, so what it means depends on nothing else: rules that need the members are in document-members.ts.
 */
import { z } from 'zod'
import { ShuntError } from '../errors.ts'
import { affinity } from './affinity.ts'
import { leaseProblems } from './checks.ts'
import { type DocumentMember, documentProblems } from './document-members.ts'
import { capacity, delivery, endpoint, MAX_HOSTS, MAX_SERVICES, name, sessions } from './fields.ts'
import { overloadProblems } from './health-checks.ts'
import { groups, overload, serviceHealth } from './health-fields.ts'
import { type Problem, unique } from './problems.ts'
import { type ServiceConfig, timeoutFields } from './schema.ts'
import { hostAddress, hostAddressProblem, ownEndpoint } from './service-endpoint.ts'
import { serviceProblems } from './service-rules.ts'
import { didYouMean } from './suggest.ts'
import { type Part, partsOf, valueUnder, wholePart } from './valid-parts.ts'
import { parseFile, readText } from './yaml-file.ts'

export { type DocumentMember, documentProblems, documentWarnings } from './document-members.ts'

/** A document travels in one statement. */
export const MAX_DOCUMENT_BYTES = 131_072
export const MAX_POOLS = 256

const poolHost = z.strictObject({
  name: name('A node that has the role host; it may join later.'),
  capacity,
  address: hostAddress,
})

const pool = z.strictObject({
  name: name('Name of the pool, unique.'),
  hosts: z
    .array(poolHost)
    .min(1)
    .max(MAX_HOSTS)
    .describe("Hosts that run the application of the pool's services."),
  delivery,
})

const service = z.strictObject({
  ...endpoint,
  pool: name('Pool whose hosts run the application.'),
  sessions,
  affinity,
  endpoint: ownEndpoint,
  ...serviceHealth,
})

/** Without the defaults of the node file: what is left out here is decided there. */
const timeouts = z
  .strictObject(
    Object.fromEntries(
      Object.entries(timeoutFields).map(([key, field]) => [
        key,
        field
          .unwrap()
          .optional()
          .describe(field.unwrap().description ?? ''),
      ]),
    ) as { [K in keyof typeof timeoutFields]: z.ZodOptional<z.ZodInt> },
  )
  .prefault({})
  .describe("Times in milliseconds, for all nodes; one that is left out is as each node's file says.")

export const documentSchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this format.'),
    pools: z
      .array(pool)
      .max(MAX_POOLS)
      .default([])
      .describe('Groups of hosts that run the same application.'),
    services: z.array(service).max(MAX_SERVICES).default([]).describe('What clients reach at virtual IPs.'),
    timeouts,
    groups: groups.optional(),
    overload: overload.optional(),
  })
  .describe('Configuration of a shunt cluster.')

export type ClusterDocument = z.output<typeof documentSchema>
/** What a document may leave out is optional here. */
export type ClusterDocumentInput = z.input<typeof documentSchema>

type Pool = z.output<typeof pool>
type Service = z.output<typeof service>

/** A document, or what is right of one. */
interface DocumentParts {
  readonly pools: readonly (Part<Pool> & { readonly hosts: readonly Part<Pool['hosts'][number]>[] })[]
  readonly services: readonly Part<Service>[]
  readonly timeouts: ClusterDocument['timeouts'] | undefined
  readonly overload: ClusterDocument['overload']
}

const wholeParts = ({ pools, services, timeouts, overload }: ClusterDocument): DocumentParts => ({
  pools: pools.map(each => ({ ...wholePart(each), hosts: each.hosts.map(wholePart) })),
  services: services.map(wholePart),
  ...{ timeouts, overload },
})

const rightParts = (data: unknown): DocumentParts => {
  const pools = valueUnder(data, 'pools')
  return {
    pools: partsOf(pool, pools).map((part, i) => ({
      ...part,
      hosts: partsOf(poolHost, valueUnder((pools as unknown[])[i], 'hosts')),
    })),
    services: partsOf(service, valueUnder(data, 'services')),
    timeouts: documentSchema.shape.timeouts.safeParse(valueUnder(data, 'timeouts')).data,
    overload: documentSchema.shape.overload.safeParse(valueUnder(data, 'overload')).data,
  }
}

const checkPools = ({ pools }: DocumentParts, problems: Problem[]): void => {
  const poolOnce = unique(problems, 'pool name')
  const all = new Set<string>()
  pools.forEach(({ some, hosts }, i) => {
    if (some.name !== undefined) poolOnce(some.name, ['pools', i, 'name'])
    const hostOnce = unique(problems, 'host')
    hosts.forEach(({ some: { name: host } }, j) => {
      if (host === undefined) return
      const at = ['pools', i, 'hosts', j, 'name']
      hostOnce(host, at)
      all.add(host)
      if (all.size === MAX_HOSTS + 1)
        problems.push({
          path: at,
          message: `is host number ${all.size}; a cluster carries at most ${MAX_HOSTS}`,
        })
    })
  })
}

/** @param isAllPools whether a pool that is not among `pools` is not in the document either */
const checkServices = (
  { pools, services }: DocumentParts,
  isAllPools: boolean,
  problems: Problem[],
): void => {
  problems.push(...serviceProblems(services))
  const names = pools.map(({ some }) => some.name)
  const known = names.filter(each => each !== undefined)
  services.forEach(({ whole, some }, i) => {
    const path = ['services', i]
    const { pool: wanted } = some
    if (wanted !== undefined && isAllPools && !known.includes(wanted))
      problems.push({
        path: [...path, 'pool'],
        message: `there is no pool ${wanted}${didYouMean(wanted, known)}`,
      })
    if (whole?.endpoint === undefined) return
    const at = names.indexOf(whole.pool)
    pools[at]?.hosts.forEach(({ some: { address } }, j) => {
      const wrong = address === undefined ? null : hostAddressProblem(address, whole.vip)
      if (wrong !== null) problems.push({ path: ['pools', at, 'hosts', j, 'address'], message: wrong })
    })
  })
}

const checkParts = (parts: DocumentParts, isAllPools: boolean): Problem[] => {
  const problems: Problem[] = []
  checkPools(parts, problems)
  checkServices(parts, isAllPools, problems)
  const { timeouts, overload: levels } = parts
  return [
    ...problems,
    ...overloadProblems(levels),
    ...(timeouts === undefined
      ? []
      : leaseProblems({
          routeLease: timeouts.routeLease ?? timeoutFields.routeLease.parse(undefined),
          tcpIdle: timeouts.tcpIdle ?? timeoutFields.tcpIdle.parse(undefined),
        })),
  ]
}

/** Every broken rule that spans several places. */
export const checkDocument = (doc: ClusterDocument): Problem[] => checkParts(wholeParts(doc), true)

/** As checkDocument, of what is right by itself of data that is not. */
const checkWrongDocument = (data: unknown): Problem[] => {
  const parts = rightParts(data)
  const pools = valueUnder(data, 'pools')
  const isList = pools === undefined || Array.isArray(pools)
  return checkParts(parts, isList && parts.pools.every(({ some }) => some.name !== undefined))
}

/** The last text that was found right, which an agent is asked about again and again; the large ones take long. */
let last: { text: string; document: ClusterDocument } | undefined

const freeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null)
    for (const part of Object.values(Object.freeze(value))) freeze(part)
  return value
}

/**
 * Parses and checks a document's text; `file` is only used in messages. With `members`, what does not fit them is an
 * error too (documentProblems). The answer is shared, and frozen.
 * @throws ShuntError SHUNT_ERR_CONFIG, one line an error: `file:line:col path: message`
 */
export const parseDocument = (
  text: string,
  file: string,
  members: readonly DocumentMember[] = [],
): ClusterDocument => {
  const bytes = Buffer.byteLength(text)
  if (bytes > MAX_DOCUMENT_BYTES)
    throw new ShuntError(
      'SHUNT_ERR_CONFIG',
      `${file}: has ${bytes} bytes, a cluster document has at most ${MAX_DOCUMENT_BYTES}`,
    )
  if (last?.text === text && documentProblems(last.document, members).length === 0) return last.document
  const document = parseFile(text, file, {
    page: 'shunt-cluster.yaml(5)',
    schema: () => documentSchema,
    check: doc => [...checkDocument(doc), ...documentProblems(doc, members)],
    checkWrong: checkWrongDocument,
  })
  last = { text, document: freeze(document) }
  return document
}

/**
 * Reads, parses and checks the cluster document at `path`; `text` is what to sign.
 * @throws ShuntError SHUNT_ERR_CONFIG, also when the file cannot be read
 */
export const loadDocument = (
  path: string,
  members: readonly DocumentMember[] = [],
): { text: string; document: ClusterDocument } => {
  const text = readText(path, 'a cluster document', MAX_DOCUMENT_BYTES)
  return { text, document: parseDocument(text, path, members) }
}

/** The services with their hosts, as the node configuration has them. */
export const servicesOf = (doc: ClusterDocument): ServiceConfig[] => {
  const pools = new Map(doc.pools.map(p => [p.name, p]))
  return doc.services.map(({ pool: name, ...service }) => {
    const pool = pools.get(name)
    return {
      ...service,
      hosts: (pool?.hosts ?? []).map(host => ({ ...host })),
      ...(pool?.delivery === undefined ? {} : { delivery: pool.delivery }),
    }
  })
}
