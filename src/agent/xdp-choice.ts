/** Whether this node's packets go by XDP (decision 31), and the part of its plan that says so. */
import { randomBytes } from 'node:crypto'
import { bpfObject } from '../assets.ts'
import type { NodeConfig } from '../config/schema.ts'
import { errorText } from '../errors.ts'
import { canXdp, type XdpCapability } from '../os/bpf/capability.ts'
import { decodeObject } from '../os/bpf/object-file.ts'
import { type Link, links } from '../os/netlink/route.ts'
import { PROBE_LAYOUT } from './dataplane/xdp/layout/probe.ts'
import type { XdpLink, XdpPlan } from './dataplane/xdp/xdp-plan.ts'

type Asker = Pick<NodeConfig, 'dataplane' | 'roles' | 'interfaces'>

export interface XdpChoice {
  readonly asked: XdpPlan['asked']
  /** Source address of frames that XDP is done with: random, locally administered, nobody else's. */
  readonly mark: Uint8Array
}

/** By interface: what a node with these roles has it for. */
const programs = ({ roles, interfaces }: Asker): Map<string, XdpLink['program']> => {
  const uplink = roles.includes('forwarder') ? interfaces.uplink : []
  const cluster = roles.includes('host') ? interfaces.cluster : []
  return new Map(
    [...new Set([...uplink, ...cluster])].map(name => [
      name,
      uplink.includes(name) ? (cluster.includes(name) ? 'edge_both' : 'edge_uplink') : 'edge_cluster',
    ]),
  )
}

export interface Device {
  readonly name: string
  readonly kind: string | null
  readonly can: XdpCapability
}

/** Pure: why the interfaces are not for XDP unless it is asked for by name; null: they are. */
export const whyNotXdp = (devices: readonly Device[]): string | null => {
  for (const { name, kind, can } of devices) {
    if (can.mode !== 'native') return can.reason
    if (kind === 'veth')
      return `${name} is a veth, whose packets may come without checksums; where they have them (ethtool -K … tx off at its other end), set dataplane: xdp`
  }
  return null
}

const allLinks = (): Map<string, Link> => new Map(links().map(entry => [entry.name, entry]))

/** What this machine and its interfaces can do; changes nothing. Throws when this build has no BPF programs. */
const tryDevices = (names: Iterable<string>): Device[] => {
  const probe = { file: decodeObject(bpfObject('probe')), layout: PROBE_LAYOUT }
  const known = allLinks()
  return [...names].flatMap(name => {
    const found = known.get(name)
    return found === undefined ? [] : [{ name, kind: found.kind, can: canXdp(name, probe) }]
  })
}

/**
 * `markBefore` is that of an agent before, whose programs are still at work: rules and programs change one after the other, and both go by it.
 * `reason`: why it is nftables, '' if that was asked for. Whether what was asked for by name can be, the data plane finds out.
 */
export const chooseXdp = (
  config: Asker,
  markBefore: string | null = null,
): { choice: XdpChoice | null; reason: string } => {
  if (config.dataplane === 'nftables') return { choice: null, reason: '' }
  const random = randomBytes(6)
  random[0] = (random[0] & 0xfc) | 2
  const mark = markBefore === null ? new Uint8Array(random) : markOf(markBefore)
  const choice = { asked: config.dataplane, mark }
  // All that the node file names: roles may come while it runs.
  const { uplink, cluster } = config.interfaces
  const reason = config.dataplane === 'xdp' ? null : hindrance(config, new Set([...uplink, ...cluster]))
  return reason === null ? { choice, reason: '' } : { choice: null, reason }
}

/** Why these interfaces cannot have what was asked for; null: they can. */
export const hindrance = (
  { dataplane }: Pick<Asker, 'dataplane'>,
  names: Iterable<string>,
): string | null => {
  try {
    const devices = tryDevices(names)
    if (dataplane === 'auto') return whyNotXdp(devices)
    return devices.find(({ can }) => can.mode === null)?.can.reason ?? null
  } catch (error) {
    return errorText(error)
  }
}

/** The plan's part; interfaces that are not there (any more) are left out. */
export const xdpPlan = (choice: XdpChoice | null, config: Asker): XdpPlan | null => {
  if (choice === null) return null
  const known = allLinks()
  const present = (names: Iterable<string>): Link[] => [...names].flatMap(name => known.get(name) ?? [])
  const wanted = programs(config)
  const cluster = present(config.interfaces.cluster).map(({ name, index, kind }) => ({ name, index, kind }))
  return {
    asked: choice.asked,
    mark: choice.mark,
    links: present(wanted.keys()).map(({ name, index }) => ({ name, index, program: wanted.get(name)! })),
    exits: config.roles.includes('forwarder') ? cluster : [],
    answers: config.roles.includes('host') ? cluster : [],
  }
}

const markOf = (text: string): Uint8Array =>
  Uint8Array.from(text.split(':'), part => Number.parseInt(part, 16))

/** As rules and people write it: `02:…`. */
export const markText = (mark: Uint8Array): string =>
  [...mark].map(byte => byte.toString(16).padStart(2, '0')).join(':')
