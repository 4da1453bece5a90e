/** An agent's view with fixed data, for tests of the control API and of the commands. */
import { EventLog } from '../../src/agent/events.ts'
import type { DirectiveOrder } from '../../src/cluster/types.ts'
import type {
  AgentView,
  AppsData,
  AtomData,
  AtomQuery,
  AtomsData,
  CaptureData,
  CaptureQuery,
  ClusterData,
  ConfigData,
  ConfigHistoryData,
  ConfigQuery,
  DropsData,
  EventRow,
  EventsData,
  EventsQuery,
  FailoverBody,
  FailoverData,
  FlowsData,
  FlowsQuery,
  HealthData,
  HostsData,
  NodesData,
  StatusData,
  SubmitBody,
  SubmitData,
  TokenRegistration,
  TraceData,
  TraceQuery,
  VipsData,
} from '../../src/control/types.ts'
import { ShuntError } from '../../src/errors.ts'

export const STATUS: StatusData = {
  node: 'f1',
  version: '0.1.0',
  pid: 4711,
  instance: 'V1StGXR8_Z5jdHi6B-myT',
  roles: ['forwarder', 'classifier'],
  state: 'running',
  uptimeMs: 7_530_000,
  dataplane: 'nftables',
  adopted: null,
  epoch: 3,
  peers: [
    { name: 'h1', roles: ['host'], address: '10.10.0.31', state: 'alive', lastHeardMs: 120, rttMs: 0.4 },
    { name: 'h2', roles: ['host'], address: '10.10.0.32', state: 'dead', lastHeardMs: 65_000, rttMs: null },
  ],
  group: { index: 0, members: ['h1', 'h2', 'h3', 'h4'], leader: 'h3', generation: 2, sinceMs: 65_000 },
  limits: [{ name: 'flows', used: 1200, capacity: 262_144, evicted: 0 }],
  counters: { slow_packets: 17, active_flows: 1200 },
  functions: [
    { function: 'forwarder', cpuPercent: 12.5, memoryBytes: 20_971_520, bandwidthBits: 81_000_000 },
    { function: 'control', cpuPercent: 1.5, memoryBytes: 75_000_000, bandwidthBits: 9_000 },
  ],
  advice: [],
  memory: { rssBytes: 92_100_000 },
  rates: { packets: 1234.5, bytes: 1_234_567, connections: 12.5 },
}
export const HOSTS: HostsData = {
  hosts: [
    {
      name: 'h1',
      address: '10.10.0.31',
      state: 'alive',
      services: ['web', 'dns'],
      capacity: 50,
      capacities: [
        { service: 'web', capacity: 50 },
        { service: 'dns', capacity: 50 },
      ],
      flows: 12,
      connections: 340,
      rates: { packets: 1234.5, bytes: 1_234_567, connections: 12.5 },
    },
    {
      name: 'h2',
      address: '10.10.0.32',
      state: 'dead',
      services: [],
      capacity: 0,
      capacities: [],
      flows: 0,
      connections: 0,
      rates: null,
    },
  ],
}
export const VIPS: VipsData = {
  vips: [
    {
      service: 'web',
      vip: '10.99.0.1',
      port: 80,
      protocol: 'tcp',
      announce: 'routed',
      holder: null,
      ordered: false,
      unattended: false,
      classifiers: 1,
      hosts: 2,
      live: 1,
      ready: 1,
      fallback: null,
      affinity: { prefix: 32, prefix6: 64, timeoutMs: 600_000, sessions: 7 },
      flows: 12,
      connections: 340,
      rates: { packets: 1234.5, bytes: 1_234_567, connections: 12.5 },
    },
  ],
}
export const FLOWS: FlowsData = {
  total: 2,
  shown: 1,
  flows: [
    {
      protocol: 'tcp',
      client: '10.20.0.5:40000',
      vip: '10.99.0.1:80',
      host: 'h1',
      identifier: '0100002a',
      state: 'established',
      plumbed: true,
      origin: 'chosen',
      slowPackets: 1,
      idleMs: 2500,
    },
  ],
}
export const DROPS: DropsData = {
  drops: [
    { number: 3, reason: 'unknown identifier', where: 'kernel', count: 9, hint: 'is the forwarder a peer?' },
  ],
}

export const CAPTURE: CaptureData = {
  packets: [
    {
      timeUs: 1_772_443_800_123_456,
      interface: 'eth0',
      length: 74,
      verdict: 'sent back',
      reason: 'sent back',
      data: Buffer.from('the head of a frame, for a test').toString('base64'),
    },
  ],
  lost: 0,
  end: 'count',
}

export const TRACE: TraceData = {
  protocol: 'tcp',
  client: '10.20.0.5:40000',
  vip: '10.99.0.1:80',
  dataplane: 'xdp native on eth0',
  inForce: true,
  service: 'web',
  forwarder: true,
  kernel: {
    by: 'xdp',
    host: 'h1',
    identifier: '0100002a',
    state: 'established',
    mapped: true,
    idleMs: 400,
  },
  flow: {
    host: 'h1',
    identifier: '0100002a',
    state: 'established',
    mapped: true,
    plumbed: true,
    origin: 'chosen',
    slowPackets: 8,
    idleMs: 2500,
    inactive: false,
  },
  choice: {
    by: 'hash',
    host: 'h1',
    candidates: [
      { host: 'h1', percent: 100, tokens: null, leaseMs: 2400, leftOut: [] },
      { host: 'h2', percent: 0, tokens: null, leaseMs: 0, leftOut: ['dead', 'lease over', 'no share'] },
    ],
  },
  classifier: null,
  nextHop: { address: '10.10.0.31', interface: 'eth0' },
  hostSide: null,
  verdict: 'forwarded',
  host: 'h1',
  why: 'the kernel has the route (xdp)',
}

const endpoint = {
  host: 'h1',
  service: 'web',
  vip: '10.99.0.1:80',
  protocol: 'tcp',
  physical: '10.99.0.1:80',
  health: 'healthy',
  load: 35,
  capacity: 50,
  target: 'active',
  current: 'active',
  cause: 'default',
} as const
/** f1 is a load balancing unit and no host; h2 died a while ago. */
export const HEALTH: HealthData = {
  group: null,
  own: null,
  cache: [
    {
      host: 'h1',
      generation: 7,
      inForce: 7,
      leaseMs: 2400,
      via: 'h3',
      rows: [
        endpoint,
        {
          ...endpoint,
          service: 'dns',
          vip: '10.99.0.1:53',
          protocol: 'udp',
          physical: '10.99.0.1:53',
          health: 'failing',
          load: 0,
          target: 'draining',
          current: 'active',
          cause: 'health',
        },
      ],
    },
    { host: 'h2', generation: null, inForce: null, leaseMs: 0, via: null, rows: [] },
  ],
  shares: [
    {
      service: 'web',
      scheme: 'hash',
      panic: false,
      overload: false,
      hosts: [{ host: 'h1', percent: 100, slowStartMs: 0 }],
    },
    { service: 'dns', scheme: 'hash', panic: false, overload: false, hosts: [] },
  ],
  absent: [],
  servers: [
    {
      host: 'h1',
      connections: 340,
      cpuPercent: 41.5,
      memoryBytes: 1_200_000_000,
      memoryFreeBytes: 2_800_000_000,
      bandwidthBits: 92_000_000,
      bandwidthFreeBits: 908_000_000,
    },
  ],
}
export const APPS: AppsData = {
  server: {
    connections: 340,
    cpuPercent: 41.5,
    memoryBytes: 1_200_000_000,
    memoryFreeBytes: 2_800_000_000,
    bandwidthBits: 92_000_000,
    bandwidthFreeBits: 908_000_000,
  },
  services: [
    { service: 'web', protocol: 'tcp', connections: 12 },
    { service: 'dns', protocol: 'udp', connections: null },
  ],
  listeners: [
    {
      protocol: 'tcp',
      address: '0.0.0.0:80',
      services: ['web'],
      namespace: '',
      queue: 3,
      backlog: 511,
      pid: 812,
      process: 'nginx',
    },
    {
      protocol: 'udp',
      address: '10.99.0.1:53',
      services: ['dns'],
      namespace: '',
      queue: 0,
      backlog: 0,
      pid: null,
      process: '',
    },
  ],
  processes: [
    {
      pid: 812,
      name: 'nginx',
      unit: 'nginx.service',
      memoryBytes: 48_200_000,
      cpuPercent: 12.5,
      connections: 338,
    },
  ],
}

const nodeRow = {
  address6: null,
  tunnel6: null,
  tunnel: null,
  retiring: [] as string[],
  self: false,
  node: 'alive',
  agent: 'alive',
  draining: false,
  probeRttMs: 0.2,
  agentRttMs: 0.4,
  lastHeardMs: 120,
  revision: 2,
  rolesRevision: 0,
  directives: [] as DirectiveOrder[],
  vips: null,
  synced: true,
  joinedAt: '2026-03-01T08:00:00.000Z',
} as const
export const NODES: NodesData = {
  mode: 'managed',
  nodes: [
    {
      ...nodeRow,
      name: 'f1',
      id: '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp',
      address: '10.10.0.11',
      tunnel: '10.10.0.111',
      roles: ['forwarder', 'classifier'],
      self: true,
      probeRttMs: null,
      agentRttMs: null,
      lastHeardMs: null,
    },
    {
      ...nodeRow,
      name: 'h1',
      id: '12D3KooWHdiAxVd8uMQR1hGWXccidmfCwLqcMpGwR6QcTP6QRMuD',
      address: '10.10.0.31',
      roles: ['host'],
    },
    {
      ...nodeRow,
      name: 'h2',
      id: '12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo',
      address: '10.10.0.32',
      roles: ['host'],
      node: 'dead',
      agent: 'dead',
      probeRttMs: null,
      agentRttMs: null,
      lastHeardMs: 65_000,
      revision: null,
      synced: false,
    },
  ],
}
const HASHES = ['1f3a'.repeat(16), '9c0d'.repeat(16)] as const
export const CLUSTER: ClusterData = {
  mode: 'managed',
  cluster: 'o0N6pEBAQdsvm6LoPwwoVBmKPUOWwBWW2fYpA0t3c2Q',
  name: 'lab',
  node: { id: NODES.nodes[0]!.id, name: 'f1', address: '10.10.0.11', controlPort: 6780 },
  digest: '00c0ffee00c0ffee',
  statements: 9,
  secrets: [{ number: 1, state: 'signing' }],
  secretNumber: 1,
  configHash: HASHES[1],
  departed: [],
  conflicts: [],
}
const TEXT = `version: 1
pools:
  - { name: pool, hosts: [{ name: h1 }, { name: h2 }] }
services:
  - { name: web, vip: 10.99.0.1, port: 80, protocol: tcp, pool: pool }
`
export const CONFIG: ConfigData = {
  revision: 2,
  hash: HASHES[1],
  parent: HASHES[0],
  text: TEXT,
  note: 'second host',
  appliedAt: '2026-03-02T09:30:00.000Z',
  state: 'current',
  rollout: [
    { node: 'f1', revision: 2 },
    { node: 'h1', revision: 2 },
    { node: 'h2', revision: null },
  ],
  warnings: [],
}
export const HISTORY: ConfigHistoryData = {
  revisions: [
    {
      revision: 2,
      hash: HASHES[1],
      parent: HASHES[0],
      note: 'second host',
      appliedAt: '2026-03-02T09:30:00.000Z',
      state: 'current',
      bytes: TEXT.length,
    },
    {
      revision: 1,
      hash: HASHES[0],
      parent: '',
      note: '',
      appliedAt: '2026-03-01T08:30:00.000Z',
      state: 'past',
      bytes: 120,
    },
  ],
}

export const ATOMS: AtomsData = {
  incarnation: 1_772_443_800,
  settled: true,
  moving: false,
  members: [
    { name: 'c1', self: false, incarnation: 1_772_443_700, leaving: false, linked: true },
    { name: 'f1', self: true, incarnation: 1_772_443_800, leaving: false, linked: true },
    { name: 'f2', self: false, incarnation: 1_772_440_000, leaving: true, linked: false },
  ],
  used: 4210,
  capacity: 1_000_000,
  bytes: 96_393_216,
  places: { own: 2100, copies: 2050, cached: 12, ended: 48 },
  evicted: 0,
  unsure: 3,
  services: [
    { service: 'web', wanted: 1, possible: 1, own: 2100, copies: 2050 },
    { service: 'dns', wanted: 'none', possible: 1, own: 0, copies: 0 },
  ],
  counters: { atoms_puts: 2148, atoms_ends: 48 },
  atom: null,
}

export const ATOM: AtomData = {
  place: 'own',
  host: 'h1',
  owner: 'f1',
  home: 'f1',
  generation: 1_814_984_512_512_000,
  wanted: 1,
  ageMs: 61_000,
  idleMs: 1_500,
  ended: false,
}

/** Two events are in it from the start; tests add more with `log.add`. */
const eventLog = (): EventLog => {
  let nowMs = Date.parse('2026-03-02T09:30:00.000Z')
  const log = new EventLog(1000, () => {
    nowMs += 1000
    return nowMs - 1000
  })
  log.add('config.applied', 'info', '-', 'revision 2 is in force')
  log.add('node.dead', 'error', 'h2', 'the machine answers no probes')
  return log
}

/** Everything it was asked is kept in `queries`, `submitted` and the like; fields of `data` may be replaced. */
export class FakeView implements AgentView {
  readonly queries: FlowsQuery[] = []
  readonly traces: TraceQuery[] = []
  readonly atomQueries: AtomQuery[] = []
  readonly captures: CaptureQuery[] = []
  capturesStopped = 0
  /** What a capture brings at once; `captureDeliver` brings more. */
  captureAnswers: CaptureData[] = [CAPTURE]
  captureDeliver: (data: CaptureData) => void = () => {}
  readonly configQueries: ConfigQuery[] = []
  readonly submitted: SubmitBody[] = []
  readonly tokens: TokenRegistration[] = []
  readonly remotes: { node: string; path: string; order?: unknown }[] = []
  leaves = 0
  readonly log = eventLog()
  readonly data = {
    status: STATUS,
    hosts: HOSTS,
    vips: VIPS,
    flows: FLOWS,
    drops: DROPS,
    health: HEALTH,
    apps: APPS,
    nodes: NODES,
    cluster: CLUSTER,
    config: CONFIG,
    history: HISTORY,
    atoms: ATOMS,
  }
  traceAnswer: TraceData = TRACE
  failure: Error | undefined
  /** What `remote` answers; undefined: an error, as for a node that cannot be reached. */
  remoteAnswer: { status: number; body: string } | undefined

  async #answer<T>(data: T): Promise<T> {
    if (this.failure !== undefined) throw this.failure
    return data
  }
  atoms(query: AtomQuery): Promise<AtomsData> {
    this.atomQueries.push(query)
    return this.#answer(this.data.atoms)
  }
  status(): Promise<StatusData> {
    return this.#answer(this.data.status)
  }
  hosts(): Promise<HostsData> {
    return this.#answer(this.data.hosts)
  }
  vips(): Promise<VipsData> {
    return this.#answer(this.data.vips)
  }
  flows(query: FlowsQuery): Promise<FlowsData> {
    this.queries.push(query)
    return this.#answer(this.data.flows)
  }
  drops(): Promise<DropsData> {
    return this.#answer(this.data.drops)
  }
  async capture(query: CaptureQuery, deliver: (data: CaptureData) => void): Promise<() => void> {
    if (this.failure !== undefined) throw this.failure
    this.captures.push(query)
    this.captureDeliver = deliver
    for (const data of this.captureAnswers) deliver(data)
    return () => {
      this.capturesStopped++
    }
  }
  trace(query: TraceQuery): Promise<TraceData> {
    this.traces.push(query)
    return this.#answer({ ...this.traceAnswer, ...query })
  }
  health(): Promise<HealthData> {
    return this.#answer(this.data.health)
  }
  apps(): Promise<AppsData> {
    return this.#answer(this.data.apps)
  }
  nodes(): Promise<NodesData> {
    return this.#answer(this.data.nodes)
  }
  cluster(): Promise<ClusterData> {
    return this.#answer(this.data.cluster)
  }
  config(query: ConfigQuery): Promise<ConfigData> {
    this.configQueries.push(query)
    return this.#answer(this.data.config)
  }
  history(): Promise<ConfigHistoryData> {
    return this.#answer(this.data.history)
  }
  events(query: EventsQuery): Promise<EventsData> {
    return this.#answer(this.log.query(query))
  }
  follow(listener: (event: EventRow) => void): () => void {
    return this.log.follow(listener)
  }
  submit(body: SubmitBody): Promise<SubmitData> {
    this.submitted.push(body)
    return this.#answer({ accepted: body.statements.length, known: 0 })
  }
  registerToken(registration: TokenRegistration): Promise<void> {
    this.tokens.push(registration)
    return this.#answer(undefined)
  }
  failovers: FailoverBody[] = []
  async failover(body: FailoverBody): Promise<FailoverData> {
    this.failovers.push(body)
    return {
      vip: body.vip,
      from: 'f1',
      to: body.to ?? 'f2',
      changed: true,
      ordered: !body.release,
      tookMs: 4,
    }
  }

  leave(): Promise<void> {
    this.leaves++
    return this.#answer(undefined)
  }
  remote(node: string, path: string, order?: unknown): Promise<{ status: number; body: string }> {
    this.remotes.push({ node, path, ...(order !== undefined && { order }) })
    if (this.remoteAnswer !== undefined) return this.#answer(this.remoteAnswer)
    return Promise.reject(new ShuntError('SHUNT_ERR_PEER', `node ${node} did not answer`))
  }
}
