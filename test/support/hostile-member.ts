/** A hostile node of a lab: speaks the links with an identity and network keys of its choice, from inside a place. */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Ledger } from '../../src/cluster/ledger.ts'
import { identitySigner } from '../../src/cluster/operator-key.ts'
import { loadCluster } from '../../src/cluster/store.ts'
import type { ClusterView } from '../../src/cluster/types.ts'
import { clusterView } from '../../src/cluster/view.ts'
import type { PeerConfig, Role } from '../../src/config/schema.ts'
import { networkKey } from '../../src/gossip/keys.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { program } from './traffic.ts'

export interface MemberParts {
  name: string
  identityFile: string
  /** 32 bytes each, base64. */
  networkKeys: string[]
  address: string
  port: number
  /** What it claims. */
  roles: Role[]
  peers: PeerConfig[]
  topic: string
}

export interface Order {
  do: 'send' | 'publish' | 'report'
  /** Base64: a whole frame, or the payload of a publication. */
  bytes?: string
}

export interface HostileReport {
  /** Its peer id. */
  id: string
  /** Peers to which the frame went. */
  sent: string[]
  /** Peers that have let it in. */
  alive: string[]
  counters: Record<string, number>
  /** What it learnt from the others; `secrets`: numbers of those that came. */
  heard: { digests: number; published: number; frames: Record<string, number>; secrets: number[] }
}

/** What a node's disk says of the cluster: whoever can read it knows all of this, the secrets too. */
export const stolenView = (lab: Lab, node: string): ClusterView => {
  const stored = loadCluster(lab.files(node).state)!
  const ledger = new Ledger(stored.cluster)
  for (const statement of stored.statements) ledger.add(statement)
  return clusterView(ledger)!
}

export class HostileMember {
  readonly #child: ReturnType<Lab['spawn']>
  readonly #lines: AsyncIterator<string>

  private constructor(child: ReturnType<Lab['spawn']>) {
    this.#child = child
    child.stderr!.pipe(process.stderr)
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  }

  /** @param own what is not as a member of that place would say it; without `networkKeys` it has all of the view */
  static async start(
    lab: Lab,
    place: string,
    view: ClusterView,
    own: Partial<MemberParts> = {},
  ): Promise<HostileMember> {
    const { identityFile = lab.files(place).identity } = own
    const { id } = identitySigner(identityFile)
    const parts: MemberParts = {
      name: place,
      identityFile,
      networkKeys: view.secrets.map(({ bytes }) => Buffer.from(networkKey(bytes)).toString('base64')),
      address: lab.place(place).address!,
      port: view.controlPort,
      roles: ['forwarder', 'classifier', 'host'],
      peers: view.members.filter(member => member.id !== id),
      topic: `shunt/${view.cluster}/ledger/1`,
      ...own,
    }
    const child = lab.spawn(place, [...program('hostile-member-process.ts'), JSON.stringify(parts)])
    const hostile = new HostileMember(child)
    await hostile.report()
    return hostile
  }

  /** To all peers that it is linked to. */
  send(frame: Uint8Array): Promise<HostileReport> {
    return this.#order({ do: 'send', bytes: Buffer.from(frame).toString('base64') })
  }
  publish(payload: Uint8Array): Promise<HostileReport> {
    return this.#order({ do: 'publish', bytes: Buffer.from(payload).toString('base64') })
  }
  report(): Promise<HostileReport> {
    return this.#order({ do: 'report' })
  }

  async #order(order: Order): Promise<HostileReport> {
    this.#child.stdin!.write(`${JSON.stringify(order)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the hostile member ended instead of answering')
    return JSON.parse(value) as HostileReport
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.stdin!.end()
    await ended
  }
}
