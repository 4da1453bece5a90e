/** The node file of each node of a lab. Pure. */
import type { NodeConfigInput, NodeFileInput } from '../config/schema.ts'
import { hostsOf, type LabPlan, nodesOf, type PlacePlan } from './topology.ts'

/** Where a place keeps its files, all below the lab's directory. */
export interface PlaceFiles {
  dir: string
  config: string
  identity: string
  state: string
  socket: string
  appSocket: string
  agentLog: string
  /** nginx's prefix. */
  web: string
  webLog: string
}

export const placeFiles = (labDir: string, place: string): PlaceFiles => {
  const dir = `${labDir}/${place}`
  return {
    dir,
    config: `${dir}/node.yaml`,
    identity: `${dir}/identity.key`,
    state: `${dir}/state`,
    // Short: the path of a Unix socket ends at 107 bytes.
    socket: `${dir}/control.sock`,
    appSocket: `${dir}/app.sock`,
    agentLog: `${dir}/agent.log`,
    web: `${dir}/web`,
    webLog: `${dir}/web/access.log`,
  }
}

export const secretFile = (labDir: string): string => `${labDir}/cluster.secret`
export const operatorKeyFile = (labDir: string): string => `${labDir}/operator.key`

/** The node file of a node that joins; of one in a static cluster, what it says of the node itself. */
export const managedNodeFile = (labDir: string, node: PlacePlan): NodeFileInput => {
  const files = placeFiles(labDir, node.name)
  return {
    version: 1,
    node: {
      name: node.name,
      identityFile: files.identity,
      stateDir: files.state,
      controlSocket: files.socket,
      appSocket: files.appSocket,
      cgroup: 'own',
    },
    interfaces: { uplink: ['eth0'], cluster: ['eth0'] },
    addresses: {
      cluster: node.address!,
      ...present({ tunnel: node.tunnel, cluster6: node.address6, tunnel6: node.tunnel6 }),
    },
  }
}

/** What is there of what may be null. */
export const present = <K extends string>(
  values: { readonly [key in K]: string | null },
): {
  [key in K]?: string
} =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null)) as { [key in K]?: string }

/**
 * The node file of a node in a static cluster.
 * @param ids peer id of every node, by name
 */
export const nodeConfig = (
  plan: LabPlan,
  node: PlacePlan,
  labDir: string,
  ids: ReadonlyMap<string, string>,
): NodeConfigInput => ({
  ...managedNodeFile(labDir, node),
  roles: node.roles,
  cluster: { secrets: [{ number: 1, file: secretFile(labDir) }] },
  peers: nodesOf(plan)
    .filter(peer => peer.name !== node.name)
    .map(peer => ({
      name: peer.name,
      id: ids.get(peer.name)!,
      roles: peer.roles,
      address: peer.address!,
      ...present({ tunnel: peer.tunnel, address6: peer.address6, tunnel6: peer.tunnel6 }),
    })),
  services: plan.services.map(service => ({
    ...service,
    hosts: hostsOf(plan).map(host => ({ name: host.name, capacity: host.capacity! })),
  })),
})
