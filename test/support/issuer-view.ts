/** The control API of an issuer without an agent, for tests of the commands that change a cluster. */
import { checkSubmit } from '../../src/agent/cluster/submit-check.ts'
import {
  type ClusterData,
  type HealthData,
  type NodeRow,
  type NodesData,
  SCHEMAS,
  type SubmitBody,
  type SubmitData,
  type TokenRegistration,
} from '../../src/control/types.ts'
import { FakeView } from './fake-view.ts'
import type { Issuer } from './issuer.ts'

export class IssuerView extends FakeView {
  readonly #issuer: Issuer
  /** Overrides of rows, by name. */
  readonly rows = new Map<string, Partial<NodeRow>>()
  /** Tables of other nodes by name, as their agents answer; a node that is not here cannot be reached. */
  readonly healthOf = new Map<string, () => HealthData>()
  /** Connections and flows of other nodes by name and path, as their agents answer. */
  readonly answersOf = new Map<string, (path: string) => unknown>()
  controlPort = 6780

  constructor(issuer: Issuer) {
    super()
    this.#issuer = issuer
  }

  override async nodes(): Promise<NodesData> {
    const nodes = this.#issuer.view().members.map(
      (m): NodeRow => ({
        name: m.name,
        id: m.id,
        address: m.address,
        tunnel: m.tunnel ?? null,
        address6: m.address6 ?? null,
        tunnel6: m.tunnel6 ?? null,
        roles: m.roles,
        retiring: [],
        vips: null,
        rolesRevision: m.rolesRevision,
        directives: m.directives,
        self: m.id === this.#issuer.signer.id,
        node: 'alive',
        agent: 'alive',
        draining: false,
        probeRttMs: 0.2,
        agentRttMs: 0.4,
        lastHeardMs: 10,
        revision: 0,
        synced: true,
        joinedAt: new Date(m.joinedMs).toISOString(),
        ...this.rows.get(m.name),
      }),
    )
    return { mode: 'managed', nodes }
  }

  override async cluster(): Promise<ClusterData> {
    const { facts, ledger } = this.#issuer
    const view = this.#issuer.view()
    return {
      mode: 'managed',
      cluster: view.cluster,
      name: view.name,
      // Where its join server listens in tests; facts of a node say no such address.
      node: { id: facts.id, name: facts.name, address: '127.0.0.1', controlPort: this.controlPort },
      digest: ledger.digest().toString(16).padStart(16, '0'),
      statements: ledger.hashes().length,
      secrets: [],
      secretNumber: view.secrets[0]!.number,
      configHash: '',
      departed: view.departed.map(({ atMs, ...rest }) => ({ ...rest, at: new Date(atMs).toISOString() })),
      conflicts: view.conflicts,
    }
  }

  override async submit(body: SubmitBody): Promise<SubmitData> {
    checkSubmit(this.#issuer.view(), body.statements, () => false)
    for (const statement of body.statements) this.#issuer.take(statement)
    return { accepted: body.statements.length, known: 0 }
  }

  override async registerToken(registration: TokenRegistration): Promise<void> {
    this.#issuer.tokens.register(registration, this.#issuer.nowMs)
  }

  override async remote(node: string, path: string): Promise<{ status: number; body: string }> {
    const health = this.healthOf.get(node)
    const other = this.answersOf.get(node)?.(path)
    if (health === undefined && other === undefined) return super.remote(node, path)
    this.remotes.push({ node, path })
    if (other !== undefined) {
      const envelope = {
        schema: SCHEMAS.apps,
        node,
        time: new Date(this.#issuer.nowMs).toISOString(),
        data: other,
      }
      return { status: 200, body: JSON.stringify(envelope) }
    }
    const { mode, nodes } = await this.nodes()
    const data =
      path === '/v1/health' && health !== undefined
        ? health()
        : { mode, nodes: nodes.map(row => ({ ...row, self: row.name === node })) }
    const schema = path === '/v1/health' ? SCHEMAS.health : SCHEMAS.nodes
    return {
      status: 200,
      body: JSON.stringify({ schema, node, time: new Date(this.#issuer.nowMs).toISOString(), data }),
    }
  }
}
