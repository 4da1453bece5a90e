/**
 * What a forwarder under test knows: services, hosts and the ways to them. Any back-end can be put into this world
 * (test/lab/xdp-forwarder.test.ts does it for XDP), and then answers the cases of dataplane-cases.ts alike.
 */
import type { VlanTag } from './ethernet.ts'

export type Family = 4 | 6
export const FAMILIES: readonly Family[] = [4, 6]

/** By family. */
type Both<T> = Readonly<Record<Family, T>>

export const CLIENT: Both<string> = { 4: '192.0.2.1', 6: '2001:db8::1' }
export const VIP: Both<string> = { 4: '198.51.100.80', 6: '2001:db8:80::80' }
/** Has other services; unknown ports of it are for the slow path to refuse. */
export const OPEN_VIP: Both<string> = { 4: '198.51.100.81', 6: '2001:db8:80::81' }
export const STRANGER: Both<string> = { 4: '198.51.100.99', 6: '2001:db8:80::99' }
export const TUNNEL: Both<string> = { 4: '10.66.0.1', 6: 'fd00:66::1' }

const TCP = 6
const UDP = 17

export const SERVICES = [
  { vip: VIP, port: 80, protocol: TCP, number: 1 },
  { vip: VIP, port: 53, protocol: UDP, number: 2 },
  { vip: VIP, port: 8080, protocol: TCP, number: 300 },
  { vip: VIP, port: 65535, protocol: UDP, number: 4000 },
  { vip: VIP, port: 1, protocol: TCP, number: 65535 },
  { vip: OPEN_VIP, port: 80, protocol: TCP, number: 7 },
] as const

/** Where packets leave. `uplink` is where they come in. */
export type Exit = 'uplink' | 'cluster' | 'vlan' | 'narrow' | 'elsewhere'

export interface WorldHost {
  readonly index: number
  readonly address: Partial<Both<string>>
  /** Missing: there is no route to it. */
  readonly exit?: Exit
  /** Last byte of its hardware address; missing: not known yet. */
  readonly neighbour?: number
}

/** By what a case wants to see. */
export const HOSTS = {
  redirected: { index: 1, address: { 4: '10.51.0.11', 6: 'fd00:51::11' }, exit: 'cluster', neighbour: 11 },
  sentBack: { index: 2, address: { 4: '10.50.0.12', 6: 'fd00:50::12' }, exit: 'uplink', neighbour: 12 },
  unresolved: { index: 3, address: { 4: '10.51.0.13', 6: 'fd00:51::13' }, exit: 'cluster' },
  unreachable: { index: 4, address: { 4: '10.99.0.14', 6: 'fd00:99::14' } },
  narrow: { index: 5, address: { 4: '10.52.0.15', 6: 'fd00:52::15' }, exit: 'narrow', neighbour: 15 },
  vlan: { index: 6, address: { 4: '10.53.0.16', 6: 'fd00:53::16' }, exit: 'vlan', neighbour: 16 },
  elsewhere: { index: 7, address: { 4: '10.54.0.17', 6: 'fd00:54::17' }, exit: 'elsewhere', neighbour: 17 },
  otherFamily4: { index: 8, address: { 4: '10.51.0.18' }, exit: 'cluster', neighbour: 18 },
  otherFamily6: { index: 9, address: { 6: 'fd00:51::19' }, exit: 'cluster', neighbour: 19 },
  local: { index: 10, address: { 4: '10.51.0.1', 6: 'fd00:51::1' } },
  blackhole: { index: 11, address: { 4: '10.98.0.20', 6: 'fd00:98::20' } },
  last: { index: 255, address: { 4: '10.51.0.255', 6: 'fd00:51::ff' }, exit: 'cluster', neighbour: 0xfe },
} as const satisfies Record<string, WorldHost>
export type HostName = keyof typeof HOSTS

/** An index that no host has. */
export const NO_HOST = 77

/** Largest packet on the way to a narrow host, in bytes; on all others JUMBO_MTU. */
export const NARROW_MTU = 1280
export const JUMBO_MTU = 9000
/** How frames to hosts of the exit `vlan` are tagged; it lies on the uplink. */
export const VLAN_TAG: VlanTag = { type: 0x8100, tci: 7 }
