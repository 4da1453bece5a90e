/**
 * What an agent of a managed cluster runs by at a moment: its node file and the cluster's view, with what is on its way in
 * (settling.ts, rotation.ts) and on its way out (retention.ts). Pure: the shell (managed.ts) calls `step` when the view,
 * the peers or the time have changed.
 */
import { moreAddresses } from '../../cluster/fact-addresses.ts'
import type { ClusterSecret, ClusterView, DirectiveOrder, Member } from '../../cluster/types.ts'
import { composeConfig } from '../../config/compose.ts'
import { servicesOf } from '../../config/document.ts'
import { MAX_HOSTS, type NodeConfig, type NodeFile, type PeerConfig, type Role } from '../../config/schema.ts'
import { type Retention, retain, retentionEndMs } from './retention.ts'
import { type Rotation, rotate, type SecretState } from './rotation.ts'
import { type Settling, settle } from './settling.ts'

/** Network keys of that many secrets open the outer door, for members that were away while keys were rotated. */
const NETWORK_SECRETS = 4

export interface Situation {
  readonly config: NodeConfig
  /** The one that signs first. */
  readonly secrets: readonly { readonly secret: ClusterSecret; readonly state: SecretState }[]
  /** Whose network keys are accepted; the first one dials. */
  readonly network: readonly ClusterSecret[]
  readonly choiceSeed: Uint8Array
  /** Names of members that are only kept for their running flows. */
  readonly leaving: ReadonlySet<string>
  /** Of the document in force, 0 for none. */
  readonly revision: number
  /** The operator's orders about this host's applications. */
  readonly directives: readonly DirectiveOrder[]
}

export interface Peers {
  /** Every live member holds the statements that this node holds. */
  readonly allSynced: boolean
  /** Whether a member of that name has in force what this node has. */
  ready(name: string): boolean
}

const withRoles = (member: Member, roles: readonly Role[]): PeerConfig => ({
  name: member.name,
  id: member.id,
  roles: [...new Set([...member.roles, ...roles])],
  address: member.address,
  ...moreAddresses(member),
})

export class Situations {
  readonly #file: NodeFile
  readonly #ownId: string
  #view: ClusterView | null = null
  #retention: Retention = new Map()
  #rotation: Rotation | null = null
  #settling: Settling | null = null

  constructor(file: NodeFile, ownId: string) {
    this.#file = file
    this.#ownId = ownId
  }

  /** @returns the situation, and when to call again at the latest (Infinity: only on a change) */
  step(view: ClusterView, peers: Peers, nowMs: number): { situation: Situation; wakeAtMs: number } {
    const timeouts = view.document?.timeouts ?? {}
    const drainMs = timeouts.drain ?? this.#file.timeouts.drain
    this.#retention = retain(this.#retention, this.#view, view, drainMs, nowMs)
    this.#view = view
    const rotation = rotate(this.#rotation, view.secrets, peers.allSynced, nowMs)
    this.#rotation = rotation.state
    const self = view.members.find(({ id }) => id === this.#ownId)
    const nodes = this.#nodes(view)
    const hosts = new Set(nodes.filter(node => node.roles.includes('host')).map(node => node.name))
    const asked = view.document === null ? [] : servicesOf(view.document)
    const services = asked.map(service => ({
      ...service,
      hosts: service.hosts.filter(({ name }) => hosts.has(name)),
    }))
    const settled = settle(this.#settling, services, name => name === self?.name || peers.ready(name), nowMs)
    this.#settling = settled.state
    const own = nodes.find(({ id }) => id === this.#ownId)
    const config = composeConfig(this.#file, {
      roles: own?.roles ?? [],
      peers: nodes.filter(({ id }) => id !== this.#ownId),
      services: settled.services,
      timeouts,
      groups: view.document?.groups,
      overload: view.document?.overload,
    })
    return {
      situation: {
        config,
        secrets: rotation.usable,
        network: networkSecrets(rotation.usable[0].secret, view.secrets),
        choiceSeed: view.choiceSeed,
        leaving: this.#leaving(view),
        revision: view.revisions.find(({ state }) => state === 'current')?.revision ?? 0,
        directives: self?.directives ?? [],
      },
      wakeAtMs: Math.min(retentionEndMs(this.#retention), rotation.wakeAtMs, settled.wakeAtMs),
    }
  }

  /** Members and those that are still kept, this node among them; no more hosts than there are indexes for. */
  #nodes(view: ClusterView): PeerConfig[] {
    const nodes = view.members.map(member => withRoles(member, this.#retention.get(member.id)?.roles ?? []))
    const names = new Set(nodes.map(({ name }) => name))
    for (const { member, roles } of this.#retention.values())
      if (!names.has(member.name)) nodes.push({ ...withRoles(member, []), roles: [...roles] })
    let hosts = 0
    return nodes.map(node => {
      if (!node.roles.includes('host') || ++hosts <= MAX_HOSTS) return node
      return { ...node, roles: node.roles.filter(role => role !== 'host') }
    })
  }

  /** Hosts for nothing new: those that lost the role host, or their membership. */
  #leaving(view: ClusterView): Set<string> {
    const hosts = new Set(view.members.filter(m => m.roles.includes('host')).map(m => m.id))
    const kept = [...this.#retention.values()].filter(entry => !hosts.has(entry.member.id))
    return new Set(kept.map(entry => entry.member.name))
  }
}

const networkSecrets = (signing: ClusterSecret, newestFirst: readonly ClusterSecret[]): ClusterSecret[] => [
  signing,
  ...newestFirst.slice(0, NETWORK_SECRETS).filter(({ number }) => number !== signing.number),
]
