/** What `shunt init` and `shunt join` ask of a machine, with what the machine suggests. */
import { isIP } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { Flags } from '@oclif/core'
import { moreAddresses } from '../cluster/fact-addresses.ts'
import type { NodePlaces } from '../cluster/setup.ts'
import type { NodeFacts } from '../cluster/types.ts'
import { addressFault } from '../config/address-fault.ts'
import type { Role } from '../config/schema.ts'
import { DEFAULT_CONTROL_SOCKET } from '../control/defaults.ts'
import { ShuntError } from '../errors.ts'

export const DEFAULT_NODE_FILE = '/etc/shunt/node.yaml'
const ROLES: readonly Role[] = ['forwarder', 'classifier', 'host']

export const configFlag = Flags.string({
  char: 'c',
  description: 'The node file.',
  env: 'SHUNT_CONFIG',
  default: DEFAULT_NODE_FILE,
  helpValue: 'FILE',
})

export const setupFlags = {
  name: Flags.string({ description: 'Name of this node; default: its host name.', helpValue: 'NAME' }),
  address: Flags.string({
    description: "This node's own address; default: the one on the interface of the default route.",
    helpValue: 'IPV4',
  }),
  tunnel: Flags.string({
    description: 'A second address, used for nothing else, from which a forwarder tunnels.',
    helpValue: 'IPV4',
  }),
  address6: Flags.string({
    description:
      "This node's IPv6 address in the cluster, beside --address; needed for hosts and forwarders of IPv6 services.",
    helpValue: 'IPV6',
  }),
  tunnel6: Flags.string({
    description: 'A second IPv6 address, used for nothing else, from which a forwarder tunnels IPv6.',
    helpValue: 'IPV6',
  }),
  uplink: Flags.string({
    description: 'Interfaces on which clients reach a forwarder; default: that of the default route.',
    helpValue: 'NAME,...',
  }),
  'cluster-interface': Flags.string({
    description: 'Interfaces that lead to the other nodes; default: that of the default route.',
    helpValue: 'NAME,...',
  }),
  config: configFlag,
  identity: Flags.string({
    description: "File of the node's identity; default: identity.key beside the node file.",
    helpValue: 'FILE',
  }),
  'state-dir': Flags.string({
    description: 'Directory of what must survive a restart.',
    env: 'SHUNT_STATE_DIR',
    default: '/var/lib/shunt',
    helpValue: 'DIR',
  }),
  'control-socket': Flags.string({
    description: "The agent's control socket.",
    env: 'SHUNT_SOCKET',
    default: DEFAULT_CONTROL_SOCKET,
    helpValue: 'PATH',
  }),
  'app-socket': Flags.string({
    description: "The agent's socket for applications.",
    env: 'SHUNT_APP_SOCKET',
    default: '/run/shunt/app.sock',
    helpValue: 'PATH',
  }),
  unchecked: Flags.boolean({
    description: 'Take the address and the interfaces also when this machine does not have them yet.',
  }),
}

export interface SetupFlags {
  name?: string
  address?: string
  tunnel?: string
  address6?: string
  tunnel6?: string
  uplink?: string
  'cluster-interface'?: string
  config: string
  identity?: string
  'state-dir': string
  'control-socket': string
  'app-socket': string
  unchecked: boolean
}

/** `host,classifier` in the usual order. Throws SHUNT_ERR_USAGE. */
export const parseRoles = (text: string): Role[] => {
  const words = text.split(',').map(word => word.trim())
  const strange = words.find(word => !(ROLES as readonly string[]).includes(word))
  if (strange !== undefined)
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      `${JSON.stringify(strange)} is not a role: those are ${ROLES.join(', ')}`,
    )
  return ROLES.filter(role => words.includes(role))
}

const list = (text: string): string[] =>
  text
    .split(',')
    .map(word => word.trim())
    .filter(word => word !== '')

/** @throws ShuntError SHUNT_ERR_USAGE when there is a forwarder without a tunnel address */
export const checkTunnel = (roles: readonly Role[], tunnel: string | undefined): void => {
  if (roles.includes('forwarder') && tunnel === undefined)
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      'the role forwarder needs --tunnel IPV4, an address used for nothing else',
    )
}

export interface Setup {
  places: NodePlaces
  facts: Omit<NodeFacts, 'id' | 'roles'>
  uplink: string[]
  clusterInterfaces: string[]
  /** Of a node of a lab (`shunt lab exec`). */
  cgroup?: string
  dataplane?: string
}

/** What a lab says of a node that is made in it: its load is that of its own control group, not the whole machine's. Pure. */
export const labParts = (env: NodeJS.ProcessEnv): Pick<Setup, 'cgroup' | 'dataplane'> => {
  const { SHUNT_LAB_NODE: node, SHUNT_LAB_DATAPLANE: dataplane } = env
  if (!node) return {}
  return { cgroup: 'own', ...(dataplane && { dataplane }) }
}

export const placesOf = (flags: SetupFlags): NodePlaces => ({
  config: resolve(flags.config),
  identity: resolve(flags.identity ?? join(dirname(flags.config), 'identity.key')),
  stateDir: resolve(flags['state-dir']),
  controlSocket: resolve(flags['control-socket']),
  appSocket: resolve(flags['app-socket']),
})

/** @throws ShuntError SHUNT_ERR_USAGE when neither the flags nor the machine say something that is needed */
export const setupOf = async (flags: SetupFlags): Promise<Setup> => {
  const { thisMachine } = await import('../cluster/setup.ts')
  const machine = thisMachine()
  const need = (value: string | undefined, flag: string, why: string): string => {
    if (value === undefined || value === '') throw new ShuntError('SHUNT_ERR_USAGE', `${why}: give ${flag}`)
    return value
  }
  const noRoute = 'this machine has no default route to take it from'
  const link = (given: string | undefined, flag: string): string[] =>
    list(need(given ?? machine.interface, flag, noRoute))
  const { tunnel } = flags
  const address = need(flags.address ?? machine.address, '--address', noRoute)
  for (const [flag, ip] of [
    ['--address', address],
    ['--tunnel', tunnel],
    ['--address6', flags.address6],
    ['--tunnel6', flags.tunnel6],
  ] as const) {
    const fault = ip === undefined || isIP(ip) === 0 ? undefined : addressFault(ip)
    if (fault !== undefined) throw new ShuntError('SHUNT_ERR_USAGE', `${ip} ${fault}: give another ${flag}`)
  }
  return {
    places: placesOf(flags),
    ...labParts(process.env),
    facts: {
      name: need(flags.name ?? machine.name, '--name', 'the host name of this machine is no name for a node'),
      address,
      ...moreAddresses(flags),
    },
    // Only a node with a tunnel address can ever be a forwarder.
    uplink: flags.uplink === undefined && tunnel === undefined ? [] : link(flags.uplink, '--uplink'),
    clusterInterfaces: link(flags['cluster-interface'], '--cluster-interface'),
  }
}
