/** What a lab may be asked to look like, and the bounds of that. Pure. */
import { ANNOUNCES, type Announce } from '../config/fields.ts'
import type { Protocol } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'

export const COMBINE = ['none', 'fc', 'all'] as const
/** `none`: a node a role; `fc`: forwarders are also the classifiers; `all`: every node has every role. */
export type Combine = (typeof COMBINE)[number]

export const MODES = ['static', 'managed', 'bare'] as const
/**
 * `static`: each node's file says everything. `managed`: a cluster with an operator, joined nodes and a document. `bare`:
 * namespaces and web servers only; keys, files and agents are the user's to make.
 */
export type Mode = (typeof MODES)[number]

/** What carries the nodes' packets, if not what `auto` makes of it. */
export const DATAPLANES = ['auto', 'xdp', 'nftables'] as const
export type LabDataplane = (typeof DATAPLANES)[number]

export interface LabService {
  name: string
  vip: string
  port: number
  protocol: Protocol
  /** Default: that of the lab. */
  announce?: Announce
}

export interface TopologyOptions {
  /** 1 to 20 of a-z, 0-9 and -. */
  name: string
  /** 1 to 30; with `combine: 'all'` not used. */
  forwarders: number
  /** 1 to 30; used only with `combine: 'none'`. */
  classifiers: number
  /** 1 to 60 (30 with `combine: 'all'`, where it counts all nodes). */
  hosts: number
  /** 1 to 30. */
  clients: number
  combine: Combine
  services: LabService[]
  /** Addresses of IPv6 beside those of IPv4 (default: if a service has one). */
  ipv6?: boolean
  /** Capacity of each host (R-B1, 0 to 99), repeated when there are more hosts than values. */
  capacities: number[]
  /** Of all links, in bytes; 1280 to 9000. */
  mtu: number
  /** `arp`: the router has no routes to virtual IPs, it asks for them by ARP, and one forwarder holds each. Default routed. */
  announce?: Announce
}

/** That of `shunt lab up --ipv6`. */
export const IPV6_SERVICE: LabService = { name: 'web6', vip: 'fd10:99::1', port: 80, protocol: 'tcp' }

export const DEFAULT_OPTIONS: TopologyOptions = {
  name: 'lab',
  forwarders: 2,
  classifiers: 1,
  hosts: 3,
  clients: 1,
  combine: 'none',
  services: [{ name: 'web', vip: '10.99.0.1', port: 80, protocol: 'tcp' }],
  capacities: [50],
  mtu: 1500,
}

const refuse = (message: string): never => {
  throw new ShuntError('SHUNT_ERR_LAB', message)
}

const inRange = (what: string, value: number, max: number): void => {
  if (!Number.isInteger(value) || value < 1 || value > max)
    refuse(`a lab has 1 to ${max} ${what}, not ${value}; give another number`)
}

/** @throws ShuntError SHUNT_ERR_LAB when a name or number is out of range. */
export const checkOptions = (o: TopologyOptions): void => {
  checkLabName(o.name)
  if (!COMBINE.includes(o.combine)) refuse(`roles are combined by ${COMBINE.join(', ')}, not by ${o.combine}`)
  if (o.combine !== 'all') inRange('forwarders', o.forwarders, 30)
  if (o.combine === 'none') inRange('classifiers', o.classifiers, 30)
  inRange('hosts', o.hosts, o.combine === 'all' ? 30 : 60)
  inRange('clients', o.clients, 30)
  if (o.services.length === 0) refuse('a lab needs at least one service')
  if (o.capacities.length === 0) refuse('a lab needs the capacity of at least one host (0 to 99)')
  if (!Number.isInteger(o.mtu) || o.mtu < 1280 || o.mtu > 9000)
    refuse(`the links of a lab carry packets of 1280 to 9000 bytes, not ${o.mtu}`)
  if (o.announce !== undefined && !ANNOUNCES.includes(o.announce))
    refuse(`virtual IPs are announced by ${ANNOUNCES.join(', ')}, not by ${o.announce}`)
  for (const c of o.capacities)
    if (!Number.isInteger(c) || c < 0 || c > 99) refuse(`a capacity is a whole number of 0 to 99, not ${c}`)
}

export const checkLabName = (name: string): void => {
  if (!/^[a-z0-9-]{1,20}$/.test(name))
    refuse(`"${name}" is not the name of a lab; use 1 to 20 of a-z, 0-9 and -`)
}
