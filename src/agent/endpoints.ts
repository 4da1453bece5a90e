/**
 * Applications that listen at another address or port than their service's (endpoint.bpf.c): new connections to the VIP are given to them in
 * the own kernel. Works with either back-end. Follows the configuration; no program is loaded until a service needs it.
 */
import { bpfObject } from '../assets.ts'
import type { NodeConfig, ServiceConfig } from '../config/schema.ts'
import { endpointOf } from '../config/service-endpoint.ts'
import { attachTcx, type BpfLink } from '../os/bpf/link.ts'
import { type LoadedObject, loadObject } from '../os/bpf/load.ts'
import { MappedArray } from '../os/bpf/mapped.ts'
import { decodeObject } from '../os/bpf/object-file.ts'
import { parseAddress } from '../os/inet.ts'
import { links } from '../os/netlink/route.ts'
import {
  ENDPOINT,
  ENDPOINT_BYTES,
  ENDPOINT_GLOBALS,
  ENDPOINT_KEY,
  ENDPOINT_KEY_BYTES,
  ENDPOINT_LAYOUT,
} from './dataplane/xdp/layout/endpoint.ts'

type Config = Pick<NodeConfig, 'node' | 'roles' | 'addresses' | 'interfaces' | 'services'>

/** Key and value of the map, hex by hex, of the services that this node runs elsewhere than at their VIP. Pure. */
export const endpointEntries = ({ node, roles, addresses, services }: Config): Map<string, string> => {
  const entries = new Map<string, string>()
  if (!roles.includes('host')) return entries
  for (const service of services) {
    const endpoint = endpointOf(service, node.name, addresses)
    if (endpoint === null || !service.hosts.some(({ name }) => name === node.name)) continue
    entries.set(keyBytes(service), endpointBytes(endpoint))
  }
  return entries
}

/**
 * What to tell of endpoints at addresses that this node does not have: a sentence each. Of 127.0.0.0/8 the loopback interface has all. Pure.
 * @param held all addresses of the node
 */
export const absentEndpoints = (
  { node, roles, addresses, services }: Config,
  held: readonly string[],
): string[] => {
  if (!roles.includes('host')) return []
  const known = new Set(held.map(address => String(bytesOf(address))))
  return services.flatMap(service => {
    const endpoint = endpointOf(service, node.name, addresses)
    if (endpoint === null || !service.hosts.some(({ name }) => name === node.name)) return []
    const { address } = endpoint
    if (address.startsWith('127.') || known.has(String(bytesOf(address)))) return []
    return [
      `service ${service.name} has its endpoint at ${address}, which this node does not have, so no application can listen there and clients are refused: give the node that address, or the service (or its host) another one`,
    ]
  })
}

/** Sixteen bytes; IPv4 as v4-mapped. */
const bytesOf = (address: string): Uint8Array => {
  const out = new Uint8Array(16)
  const given = parseAddress(address)
  if (given.length === 4) out.set([0xff, 0xff], 10)
  out.set(given, 16 - given.length)
  return out
}

const packed = (size: number, addressAt: number, address: string, portAt: number, port: number): string => {
  const bytes = Buffer.alloc(size)
  bytes.set(bytesOf(address), addressAt)
  bytes.writeUInt16BE(port, portAt)
  return bytes.toString('hex')
}
const keyBytes = ({ vip, port }: Pick<ServiceConfig, 'vip' | 'port'>): string =>
  packed(ENDPOINT_KEY_BYTES, ENDPOINT_KEY.vip, vip, ENDPOINT_KEY.port, port)
const endpointBytes = ({ address, port }: { address: string; port: number }): string =>
  packed(ENDPOINT_BYTES, ENDPOINT.address, address, ENDPOINT.port, port)

const fromHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

export class Endpoints {
  #object: LoadedObject | null = null
  #bss: MappedArray | null = null
  #entries: ReadonlyMap<string, string> = new Map()
  /** By interface index. */
  readonly #links = new Map<number, BpfLink>()

  /**
   * @param tun device by which the slow path puts packets into the own stack
   * @throws ShuntError or OsError when this machine cannot; then what was in force still is
   */
  follow(config: Config, tun: string): void {
    const wanted = endpointEntries(config)
    if (wanted.size === 0 && this.#object === null) return
    this.#object ??= loadObject(decodeObject(bpfObject('endpoint')), { layout: ENDPOINT_LAYOUT })
    this.#bss ??= new MappedArray(this.#object.map('bss'))
    const quiet = links().find(({ name }) => name === tun)?.index ?? 0
    this.#bss.view.setUint32(ENDPOINT_GLOBALS.quietInterface.offset, quiet, true)
    const map = this.#object.map('endpoints')
    // In the map first, so that an interface that is new finds all of it.
    for (const [key, value] of wanted)
      if (this.#entries.get(key) !== value) map.update(fromHex(key), fromHex(value))
    for (const key of this.#entries.keys()) if (!wanted.has(key)) map.delete(fromHex(key))
    this.#entries = wanted
    this.#attach(
      wanted.size === 0 ? [] : ['lo', tun, ...config.interfaces.uplink, ...config.interfaces.cluster],
    )
  }

  #attach(names: readonly string[]): void {
    const wanted = new Set(links().flatMap(({ name, index }) => (names.includes(name) ? [index] : [])))
    for (const [index, link] of this.#links)
      if (!wanted.has(index)) {
        link.close()
        this.#links.delete(index)
      }
    for (const index of wanted)
      if (!this.#links.has(index))
        this.#links.set(index, attachTcx(this.#object!.program('endpoint_ingress'), index, 'ingress'))
  }

  close(): void {
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
    this.#bss?.release()
    this.#bss = null
    this.#object?.close()
    this.#object = null
    this.#entries = new Map()
  }
}
