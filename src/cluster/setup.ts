/** Makes a machine a node: what init and join write, all of it or nothing. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'
import { dirname } from 'node:path'
import { stringify } from 'yaml'
import { ShuntError } from '../errors.ts'
import { moreAddresses } from './fact-addresses.ts'
import { factsFault } from './join-facts.ts'
import { type Signer, signStatement } from './statement.ts'
import { clusterFile } from './store.ts'
import type { NodeFacts, Statement } from './types.ts'

export interface NodePlaces {
  config: string
  identity: string
  stateDir: string
  controlSocket: string
  appSocket: string
}

export interface Machine {
  /** '' where the host name gives none. */
  name: string
  /** Interface of the default route and its first IPv4 address; undefined without one. */
  interface?: string
  address?: string
}

/** Destination and mask 0 in /proc/net/route; the lowest metric wins. */
const defaultInterface = (routes: string): string | undefined =>
  routes
    .split('\n')
    .slice(1)
    .map(line => line.split('\t'))
    .filter(fields => fields[1] === '00000000' && fields[7] === '00000000')
    .sort((a, b) => Number(a[6]) - Number(b[6]))[0]?.[0]

/** What this machine suggests for itself. `routes`: text of /proc/net/route. */
export const thisMachine = (routes = readFileSync('/proc/net/route', 'utf8')): Machine => {
  const name = hostname()
    .split('.')[0]!
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, 63)
  const link = defaultInterface(routes)
  const address = networkInterfaces()[link ?? '']?.find(a => a.family === 'IPv4')?.address
  return { name, ...(link !== undefined && { interface: link }), ...(address !== undefined && { address }) }
}

export interface NodeFileParts {
  name: string
  places: NodePlaces
  uplink: string[]
  clusterInterfaces: string[]
  address: string
  tunnel?: string
  address6?: string
  tunnel6?: string
  controlPort: number
  mappingPort: number
  /** Left out: as the node file has it. */
  cgroup?: string
  dataplane?: string
}

/** The node file of a managed node. */
export const nodeFileText = (parts: NodeFileParts): string => {
  const { name, places, uplink, clusterInterfaces, address, controlPort, mappingPort, cgroup, dataplane } =
    parts
  const { tunnel, address6, tunnel6 } = moreAddresses(parts)
  const file = {
    version: 1,
    node: {
      name,
      identityFile: places.identity,
      stateDir: places.stateDir,
      controlSocket: places.controlSocket,
      appSocket: places.appSocket,
      ...(cgroup !== undefined && { cgroup }),
    },
    interfaces: { ...(uplink.length > 0 && { uplink }), cluster: clusterInterfaces },
    addresses: {
      cluster: address,
      ...(tunnel !== undefined && { tunnel }),
      ...(address6 !== undefined && { cluster6: address6 }),
      ...(tunnel6 !== undefined && { tunnel6 }),
    },
    cluster: { controlPort, mappingPort },
    ...(dataplane !== undefined && { dataplane }),
  }
  const head =
    '# This node of a managed shunt cluster; see shunt-node.yaml(5). Members, roles, services and secrets are\n# not here: the cluster agrees on them (shunt nodes, shunt roles, shunt apply).\n'
  return head + stringify(file, { flowCollectionPadding: false })
}

/** @throws ShuntError SHUNT_ERR_USAGE that says what is wrong */
export const checkFacts = (facts: NodeFacts): void => {
  const why = factsFault(facts)
  if (why !== undefined) throw new ShuntError('SHUNT_ERR_USAGE', `these are no facts of a node: ${why}`)
}

/**
 * A cluster's first statements: its beginning, its first secret, its first node.
 * `atMs`: Unix milliseconds.
 */
export const firstStatements = (
  operator: Signer & { cluster: string },
  genesis: { name: string; controlPort: number; mappingPort: number },
  node: NodeFacts,
  atMs: number,
): Statement[] => {
  const random = (): string => randomBytes(32).toString('base64')
  const sign = (body: Statement['body']): Statement =>
    signStatement(operator.cluster, 'operator', body, operator)
  return [
    sign({ kind: 'genesis', ...genesis, atMs, choiceSeed: random() }),
    sign({ kind: 'secret', number: 1, secret: random(), graceMs: 0, excludes: [], atMs }),
    sign({ kind: 'admit', node, atMs }),
  ]
}

/** @throws ShuntError SHUNT_ERR_GUARD that names every file that is there */
export const refuseExisting = (files: readonly string[], help: string): void => {
  const there = files.filter(file => existsSync(file))
  if (there.length > 0)
    throw new ShuntError(
      'SHUNT_ERR_GUARD',
      `${there.join(' and ')} exist${there.length === 1 ? 's' : ''} and ${there.length === 1 ? 'is' : 'are'} not overwritten; ${help}`,
    )
}

export const stateFiles = (places: NodePlaces): string[] => [places.config, clusterFile(places.stateDir)]

/** What was made so far, to be undone when a later step fails. */
export class Making {
  readonly #undo: (() => void)[] = []

  directory(path: string, mode: number): void {
    const first = mkdirSync(path, { recursive: true, mode })
    if (first === undefined) return
    this.#undo.push(() => {
      for (let each = path; each.length >= first.length; each = dirname(each)) rmdirSync(each)
    })
  }

  /** To be called before the file is made; it must not exist yet. */
  file(path: string): void {
    this.#undo.push(() => {
      if (existsSync(path)) unlinkSync(path)
    })
  }

  /** A new file. */
  write(path: string, text: string, mode: number): void {
    writeFileSync(path, text, { flag: 'wx', mode })
    this.file(path)
  }

  undo(): void {
    for (const step of this.#undo.reverse())
      try {
        step()
      } catch {
        // A directory that somebody else uses by now stays.
      }
  }
}
