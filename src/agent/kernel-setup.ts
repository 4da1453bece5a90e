import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeConfig } from '../config/schema.ts'
import { errorText, ShuntError } from '../errors.ts'
import {
  addAddress,
  addresses,
  deleteAddress,
  type Link,
  link,
  routeGet,
  setLinkUp,
} from '../os/netlink/route.ts'
import { applyRuleset, deleteTable } from '../os/nft.ts'
import { readSysctl, writeSysctl } from '../os/sysctl.ts'
import { SysctlGuard } from '../os/sysctl-guard.ts'
import type { Directory } from './dataplane/directory.ts'
import type { LinkRef } from './dataplane/messages.ts'
import { buildRuleset, type RulesetPlan, tableName } from './dataplane/nft/ruleset.ts'

interface OwnedAddress {
  readonly link: string
  readonly cidr: string
}

/** Loose source validation: a client's packet may come in on another interface than the one that leads to it. */
const RP_FILTER_LOOSE = 2

/**
 * What the kernel needs before packets flow, and its undoing: the tunnel address, VIPs on `lo`, sysctls, nftables.
 * What was changed is recorded in the state directory first, so that a crash is cleaned up by the next start.
 */
export class KernelSetup {
  readonly #config: NodeConfig
  readonly #directory: Directory
  readonly #sysctls: SysctlGuard
  readonly #ownedPath: string
  #owned: OwnedAddress[] = []
  #hops = ''

  constructor(config: NodeConfig, directory: Directory) {
    const { stateDir } = config.node
    prepareStateDir(stateDir)
    this.#config = config
    this.#directory = directory
    this.#ownedPath = join(stateDir, 'addresses.json')
    SysctlGuard.recover(join(stateDir, 'sysctls.json'))
    this.#recoverAddresses()
    this.#sysctls = new SysctlGuard(join(stateDir, 'sysctls.json'))
  }

  /** What the node file says of this machine, held against it; answers warnings. */
  check(): string[] {
    const { addresses: own, interfaces } = this.#config
    if (!addresses().some(({ address }) => address === own.cluster)) {
      throw new ShuntError(
        'SHUNT_ERR_CAPABILITY',
        `${own.cluster} is not an address of this machine; correct addresses.cluster in the node file (ip address shows them)`,
      )
    }
    return [...new Set([...interfaces.uplink, ...interfaces.cluster])]
      .filter(name => !this.#link(name).up)
      .map(name => `interface ${name} is down; nothing passes until it is up (ip link set ${name} up)`)
  }

  /** The interfaces that the rings listen on, and the smallest MTU of the cluster's in bytes. */
  links(): { links: LinkRef[]; mtuBytes: number } {
    const { interfaces, roles } = this.#config
    const names = new Set([
      ...(roles.includes('forwarder') ? interfaces.uplink : []),
      ...(roles.includes('host') ? interfaces.cluster : []),
    ])
    const links = [...names].map(name => ({ name, index: this.#link(name).index }))
    const mtuBytes = Math.min(...interfaces.cluster.map(name => this.#link(name).mtu))
    return { links, mtuBytes }
  }

  #link(name: string): Link {
    try {
      return link(name)
    } catch (cause) {
      throw new ShuntError(
        'SHUNT_ERR_CAPABILITY',
        `there is no interface ${name}; correct interfaces: in the node file (ip link shows them)`,
        { cause },
      )
    }
  }

  /** Before the worker starts: addresses, sysctls, tables. */
  async apply(): Promise<void> {
    const config = this.#config
    const cluster = config.interfaces.cluster[0]
    if (config.roles.includes('forwarder') && config.addresses.tunnel !== undefined)
      this.#own(cluster, `${config.addresses.tunnel}/32`)
    if (config.roles.includes('host')) {
      // Hosts hold the VIP and must not claim it on the wire: that is the forwarders' place.
      this.#sysctls.set(['net', 'ipv4', 'conf', 'all', 'arp_ignore'], 1)
      this.#sysctls.set(['net', 'ipv4', 'conf', 'all', 'arp_announce'], 2)
      for (const name of config.interfaces.cluster) {
        const path = ['net', 'ipv4', 'conf', name, 'rp_filter']
        if (
          Number(readSysctl(path)) !== 0 ||
          Number(readSysctl(['net', 'ipv4', 'conf', 'all', 'rp_filter'])) !== 0
        )
          this.#sysctls.set(path, RP_FILTER_LOOSE)
      }
      for (const vip of this.#ownVips()) this.#own('lo', `${vip}/32`)
    }
    await applyRuleset(buildRuleset(this.#ruleset()))
  }

  /** After the worker made its TUN device. */
  tunReady(name: string): void {
    setLinkUp(name)
    // Loose validation refuses everything on an interface without an address (fib_validate_source), so it gets the
    // node's own, as unnumbered links do. Neither goes by the guard: both end with the device.
    addAddress(this.#link(name).index, `${this.#config.addresses.cluster}/32`)
    writeSysctl(['net', 'ipv4', 'conf', name, 'rp_filter'], RP_FILTER_LOOSE)
  }

  #ownVips(): Set<string> {
    const mine = this.#config.services.filter(service =>
      service.hosts.some(host => host.name === this.#config.node.name),
    )
    return new Set(mine.map(service => service.vip))
  }

  #own(device: string, cidr: string): void {
    const entry = { link: device, cidr }
    const before = this.#owned
    this.#owned = [...before, entry]
    this.#saveOwned()
    if (addAddress(this.#link(device).index, cidr)) return
    // It was there before us: not ours to remove.
    this.#owned = before
    this.#saveOwned()
  }

  #saveOwned(): void {
    writeFileSync(this.#ownedPath, JSON.stringify(this.#owned))
  }

  #recoverAddresses(): void {
    const left = readOwned(this.#ownedPath)
    this.#owned = left
    this.#releaseAddresses()
  }

  #releaseAddresses(): void {
    for (const { link: device, cidr } of this.#owned) {
      try {
        deleteAddress(this.#link(device).index, cidr)
      } catch {
        // The interface went away, and its addresses with it.
      }
    }
    this.#owned = []
    rmSync(this.#ownedPath, { force: true })
  }

  #ruleset(): RulesetPlan {
    const config = this.#config
    const { tunnel } = config.addresses
    const forwarder = config.roles.includes('forwarder') && tunnel !== undefined
    const hosts = forwarder ? this.#nextHops() : []
    this.#hops = JSON.stringify(hosts)
    return {
      node: config.node.name,
      uplink: config.interfaces.uplink,
      cluster: config.interfaces.cluster,
      clusterAddress: config.addresses.cluster,
      forwarder: forwarder
        ? { tunnelAddress: tunnel, services: config.services, hosts, routeCapacity: config.limits.flows }
        : null,
      host: config.roles.includes('host')
        ? {
            tunnels: config.peers.flatMap(peer => (peer.tunnel === undefined ? [] : [peer.tunnel])),
            mappingCapacity: config.limits.mappings,
          }
        : null,
    }
  }

  #nextHops(): { index: number; address: string; hop: string; link: string }[] {
    const names = new Map<number, string>()
    for (const name of this.#config.interfaces.cluster) names.set(this.#link(name).index, name)
    return this.#directory.hosts.flatMap(host => {
      if (host.self) return []
      const address = this.#config.peers.find(peer => peer.name === host.name)?.address
      if (address === undefined) return []
      try {
        const route = routeGet(address)
        const device = names.get(route.interfaceIndex)
        return device === undefined
          ? []
          : [{ index: host.index, address, hop: route.gateway ?? address, link: device }]
      } catch {
        return [] // no route now: its packets stay on the slow path until there is one
      }
    })
  }

  /** Follows changed routes to hosts; call every few seconds on a forwarder. */
  async refreshHops(): Promise<boolean> {
    if (!this.#config.roles.includes('forwarder')) return false
    const hosts = this.#nextHops()
    const now = JSON.stringify(hosts)
    if (now === this.#hops) return false
    const table = `netdev ${tableName(this.#config.node.name)}`
    const fill = (map: string, items: string[]): string =>
      `flush map ${table} ${map}\n${items.length === 0 ? '' : `add element ${table} ${map} { ${items.join(', ')} }\n`}`
    await applyRuleset(
      fill(
        'address',
        hosts.map(h => `${h.index} : ${h.address}`),
      ) +
        fill(
          'hop',
          hosts.map(h => `${h.index} : ${h.hop}`),
        ) +
        fill(
          'link',
          hosts.map(h => `${h.index} : "${h.link}"`),
        ),
    )
    this.#hops = now
    return true
  }

  /** Everything back as it was; each step is tried though an earlier one failed. Answers what went wrong. */
  async undo(): Promise<unknown[]> {
    const errors: unknown[] = []
    const name = tableName(this.#config.node.name)
    for (const step of [
      () => deleteTable('netdev', name),
      () => deleteTable('inet', name),
      () => this.#releaseAddresses(),
      () => this.#sysctls.restore(),
    ]) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    return errors
  }
}

const prepareStateDir = (path: string): void => {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw new ShuntError(
      'SHUNT_ERR_CAPABILITY',
      `the state directory cannot be used (${errorText(cause)}); correct node.stateDir, or make ${path} a directory that root can write`,
      { cause },
    )
  }
}

const readOwned = (path: string): OwnedAddress[] => {
  if (!existsSync(path)) return []
  try {
    const list = JSON.parse(readFileSync(path, 'utf8')) as unknown
    const isOwned = (entry: unknown): entry is OwnedAddress => {
      const { link: device, cidr } = (entry ?? {}) as Partial<OwnedAddress>
      return typeof device === 'string' && typeof cidr === 'string'
    }
    if (Array.isArray(list) && list.every(isOwned)) return list
    throw new Error('it has another form')
  } catch (cause) {
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `${path} should hold addresses that an earlier agent added, but cannot be read; check them (ip address) and remove it`,
      { cause },
    )
  }
}
