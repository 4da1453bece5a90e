/** An agent's view with fixed data, for tests of the control API and of the commands. */
import type {
  AgentView,
  DropsData,
  FlowsData,
  FlowsQuery,
  HostsData,
  StatusData,
  VipsData,
} from '../../src/control/types.ts'

export const STATUS: StatusData = {
  node: 'f1',
  version: '0.1.0',
  pid: 4711,
  instance: 'V1StGXR8_Z5jdHi6B-myT',
  roles: ['forwarder', 'classifier'],
  state: 'running',
  uptimeMs: 7_530_000,
  dataplane: 'nftables',
  epoch: 3,
  peers: [
    { name: 'h1', roles: ['host'], address: '10.10.0.31', state: 'alive', lastHeardMs: 120, rttMs: 0.4 },
    { name: 'h2', roles: ['host'], address: '10.10.0.32', state: 'dead', lastHeardMs: 65_000, rttMs: null },
  ],
  limits: [{ name: 'flows', used: 1200, capacity: 262_144, evicted: 0 }],
  counters: { slow_packets: 17, active_flows: 1200 },
  memory: { rssBytes: 92_100_000 },
}
export const HOSTS: HostsData = {
  hosts: [
    {
      name: 'h1',
      address: '10.10.0.31',
      state: 'alive',
      services: ['web', 'dns'],
      capacity: 50,
      flows: 12,
      connections: 340,
    },
    { name: 'h2', address: '10.10.0.32', state: 'dead', services: [], capacity: 0, flows: 0, connections: 0 },
  ],
}
export const VIPS: VipsData = {
  vips: [
    {
      service: 'web',
      vip: '10.99.0.1',
      port: 80,
      protocol: 'tcp',
      hosts: 2,
      live: 1,
      flows: 12,
      connections: 340,
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

export class FakeView implements AgentView {
  readonly queries: FlowsQuery[] = []
  readonly data = { status: STATUS, hosts: HOSTS, vips: VIPS, flows: FLOWS, drops: DROPS }
  failure: Error | undefined

  async #answer<T>(data: T): Promise<T> {
    if (this.failure !== undefined) throw this.failure
    return data
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
}
