/** What the control API shows and takes of the cluster: nodes, document, events' neighbours (control/cluster-types.ts). */

import type { ConfigRevision, Member } from '../../cluster/types.ts'
import { documentWarnings, parseDocument } from '../../config/document.ts'
import type { NodeConfig } from '../../config/schema.ts'
import type {
  ClusterData,
  ConfigData,
  ConfigHistoryData,
  ConfigQuery,
  MachineState,
  NodeRow,
  NodesData,
  SubmitBody,
  SubmitData,
  TokenRegistration,
} from '../../control/cluster-types.ts'
import { ShuntError } from '../../errors.ts'
import type { PeerLinks } from '../../gossip/links-api.ts'
import type { PeerState } from '../../gossip/peer.ts'
import type { Managed } from './managed.ts'

export interface Machine {
  readonly state: MachineState
  readonly rttMs: number | null
}

export interface ClusterApiParts {
  /** In force now. */
  config(): NodeConfig
  /** Of the document in force here, 0 for none. */
  revision(): number
  draining(): boolean
  machine(name: string): Machine
  /** VIPs announced by ARP that it holds; null: not known here. */
  vipsOf(name: string): string[] | null
  readonly links: PeerLinks
  /** `null` in a static cluster. */
  readonly managed: Managed | null
  registerToken(registration: TokenRegistration): void
  leave(): Promise<void>
}

const iso = (ms: number): string => new Date(ms).toISOString()
const hex = (digest: bigint): string => digest.toString(16).padStart(16, '0')
const HASH = /^[0-9a-f]{8,64}$/

export class ClusterApi {
  readonly #parts: ClusterApiParts

  constructor(parts: ClusterApiParts) {
    this.#parts = parts
  }

  #managed(): Managed {
    const { managed } = this.#parts
    if (managed !== null) return managed
    throw new ShuntError(
      'SHUNT_ERR_STATEMENT',
      'this cluster is static: its nodes and services stand in the node files; to steer it by commands, begin a managed one with shunt init',
    )
  }

  /** None in a static cluster. */
  counters(): Record<string, number> {
    return this.#parts.managed?.counters() ?? {}
  }

  nodes(): NodesData {
    const { managed, links } = this.#parts
    const config = this.#parts.config()
    const members = new Map(managed?.view.members.map(member => [member.id, member]))
    // A former member that is kept for its running flows is no node of the cluster any more.
    const peers = links.states().filter(({ id }) => managed === null || members.has(id))
    const rows = peers.map(peer => this.#row(peer, config, members.get(peer.id)))
    const self = members.get(links.id)
    rows.push({
      name: config.node.name,
      id: links.id,
      address: config.addresses.cluster,
      tunnel: config.addresses.tunnel ?? null,
      address6: config.addresses.cluster6 ?? null,
      tunnel6: config.addresses.tunnel6 ?? null,
      ...rolesOf(config.roles, self),
      self: true,
      node: 'alive',
      agent: 'alive',
      draining: this.#parts.draining(),
      probeRttMs: null,
      agentRttMs: null,
      lastHeardMs: 0,
      revision: managed === null ? null : this.#parts.revision(),
      rolesRevision: self?.rolesRevision ?? 0,
      directives: self?.directives ?? [],
      vips: this.#parts.vipsOf(config.node.name),
      synced: true,
      joinedAt: self === undefined ? null : iso(self.joinedMs),
    })
    return {
      mode: managed === null ? 'static' : 'managed',
      nodes: rows.sort((a, b) => (a.name < b.name ? -1 : 1)),
    }
  }

  #row(peer: PeerState, config: NodeConfig, member: Member | undefined): NodeRow {
    const { managed } = this.#parts
    const machine = this.#parts.machine(peer.name)
    const alive = peer.state === 'alive'
    const known = config.peers.find(({ name }) => name === peer.name)
    return {
      name: peer.name,
      id: peer.id,
      address: peer.address,
      tunnel: known?.tunnel ?? null,
      address6: known?.address6 ?? null,
      tunnel6: known?.tunnel6 ?? null,
      ...rolesOf(peer.roles, member),
      self: false,
      node: machine.state,
      agent: peer.state,
      draining: peer.draining,
      probeRttMs: machine.rttMs,
      agentRttMs: peer.rttMs,
      lastHeardMs: peer.lastHeardMs,
      revision: alive && managed !== null ? peer.revision : null,
      rolesRevision: member?.rolesRevision ?? 0,
      directives: member?.directives ?? [],
      vips: this.#parts.vipsOf(peer.name),
      synced: managed === null || (alive && managed.isSynced(peer.name)),
      joinedAt: member === undefined ? null : iso(member.joinedMs),
    }
  }

  cluster(): ClusterData {
    const { managed, links } = this.#parts
    const { node, addresses, cluster } = this.#parts.config()
    const own = {
      id: links.id,
      name: node.name,
      address: addresses.cluster,
      controlPort: cluster.controlPort,
    }
    if (managed === null)
      return {
        mode: 'static',
        cluster: null,
        name: null,
        node: own,
        digest: hex(0n),
        statements: 0,
        secrets: [],
        secretNumber: 0,
        configHash: '',
        departed: [],
        conflicts: [],
      }
    const { view, ledger, situation } = managed
    return {
      mode: 'managed',
      cluster: view.cluster,
      name: view.name,
      node: own,
      digest: hex(ledger.digest()),
      statements: ledger.hashes().length,
      secrets: situation.secrets.map(({ secret, state }) => ({ number: secret.number, state })),
      secretNumber: view.secrets[0].number,
      configHash: view.revisions.find(({ state }) => state === 'current')?.hash ?? '',
      departed: view.departed.map(({ atMs, ...rest }) => ({ ...rest, at: iso(atMs) })),
      conflicts: view.conflicts,
    }
  }

  config(query: ConfigQuery): ConfigData {
    const { view } = this.#managed()
    const { revision: wanted } = query
    const found =
      wanted === undefined ? view.revisions.find(r => r.state === 'current') : pick(view.revisions, wanted)
    const rollout = this.nodes().nodes.map(({ name, revision }) => ({ node: name, revision }))
    if (found === undefined)
      return {
        revision: 0,
        hash: '',
        parent: '',
        text: '',
        note: '',
        appliedAt: '',
        state: 'none',
        rollout,
        warnings: [],
      }
    const { atMs, ...rest } = found
    return {
      ...rest,
      appliedAt: iso(atMs),
      rollout,
      warnings:
        found.state === 'current'
          ? documentWarnings(parseDocument(found.text, 'document'), view.members)
          : [],
    }
  }

  history(): ConfigHistoryData {
    return {
      revisions: this.#managed().view.revisions.map(({ atMs, text, ...rest }) => ({
        ...rest,
        appliedAt: iso(atMs),
        bytes: Buffer.byteLength(text),
      })),
    }
  }

  submit(body: SubmitBody): SubmitData {
    return this.#managed().submit(body.statements)
  }

  registerToken(registration: TokenRegistration): void {
    this.#managed()
    this.#parts.registerToken(registration)
  }

  async leave(): Promise<void> {
    this.#managed()
    await this.#parts.leave()
  }
}

/** Of what a node is here, what the operator wants of it and what it only brings to an end. */
const rolesOf = (
  carried: readonly string[],
  member: Member | undefined,
): Pick<NodeRow, 'roles' | 'retiring'> => {
  const roles: readonly string[] = member?.roles ?? carried
  return { roles: [...roles], retiring: carried.filter(role => !roles.includes(role)) }
}

/** By number (of several with one number the one in force or past) or by the first digits of the hash. */
const pick = (revisions: readonly ConfigRevision[], wanted: string): ConfigRevision => {
  const byNumber = revisions.filter(({ revision }) => String(revision) === wanted)
  const found =
    byNumber.find(({ state }) => state !== 'lost') ??
    byNumber[0] ??
    (HASH.test(wanted) ? revisions.find(({ hash }) => hash.startsWith(wanted)) : undefined)
  if (found !== undefined) return found
  throw new ShuntError(
    'SHUNT_ERR_USAGE',
    `there is no revision ${wanted}; shunt config history shows those that are kept`,
  )
}
