import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isIpv6Vip } from '../config/ipv6-needs.ts'
import type { NodeConfig } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'
import {
  addAddress,
  addresses,
  deleteAddress,
  type Link,
  link,
  links,
  routeGet,
  setLinkUp,
} from '../os/netlink/route.ts'
import { applyRuleset, deleteTable } from '../os/nft.ts'
import { hasSysctl, readSysctl, writeSysctl } from '../os/sysctl.ts'
import { SysctlGuard } from '../os/sysctl-guard.ts'
import type { Directory, HostEntry } from './dataplane/directory.ts'
import { formatAddress } from './dataplane/flow-key.ts'
import type { LinkRef } from './dataplane/messages.ts'
import { buildRuleset, tableName } from './dataplane/nft/ruleset.ts'
import { changeRuleset } from './dataplane/nft/ruleset-change.ts'
import type { HostHop, RulesetPlan } from './dataplane/nft/ruleset-plan.ts'
import { type OwnedAddress, prepareStateDir, readOwned } from './kernel-state.ts'
import { markText } from './xdp-choice.ts'

const has = (list: readonly OwnedAddress[], entry: OwnedAddress): boolean =>
  list.some(({ link: device, cidr }) => device === entry.link && cidr === entry.cidr)

/** Loose source validation: a client's packet may come in on another interface than the one that leads to it. */
const RP_FILTER_LOOSE = 2
/** Of a cluster whose links are all gone for the moment. */
const MTU_BYTES = 1500

/**
 * What the kernel needs before packets flow, and its undoing: the tunnel address, VIPs on `lo`, sysctls, nftables.
 * What was changed is recorded in the state directory first. What an agent before left there stays in force until `apply`, which keeps what is
 * still wanted and puts the rest back: no packet meets a machine that is only half set up.
 */
export class KernelSetup {
  #config: NodeConfig
  #directory: Directory
  readonly #mark: Uint8Array | undefined
  readonly #sysctls: SysctlGuard
  readonly #ownedPath: string
  #owned: OwnedAddress[] = []
  /** In force, with the devices that its links were. */
  #applied: { readonly rules: RulesetPlan; readonly devices: ReadonlyMap<string, number> } | null = null
  /** Changes come one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  /** @param mark source address of frames that XDP is done with; without it there is no XDP */
  constructor(config: NodeConfig, directory: Directory, mark?: Uint8Array) {
    this.#mark = mark
    const { stateDir } = config.node
    prepareStateDir(stateDir)
    this.#config = config
    this.#directory = directory
    this.#ownedPath = join(stateDir, 'addresses.json')
    this.#owned = readOwned(this.#ownedPath)
    this.#sysctls = new SysctlGuard(join(stateDir, 'sysctls.json'))
  }

  /** What the node file says of this machine, held against it; answers warnings. */
  check(): string[] {
    const { addresses: own, interfaces } = this.#config
    const present = new Set(addresses().map(({ address }) => address))
    for (const key of ['cluster', 'cluster6'] as const) {
      const address = own[key]
      if (address !== undefined && !present.has(address))
        throw new ShuntError(
          'SHUNT_ERR_CAPABILITY',
          `${address} is not an address of this machine; correct addresses.${key} in the node file (ip address shows them)`,
        )
    }
    return [...new Set([...interfaces.uplink, ...interfaces.cluster])]
      .filter(name => !this.#link(name).up)
      .map(name => `interface ${name} is down; nothing passes until it is up (ip link set ${name} up)`)
  }

  /**
   * The interfaces that the rings listen on, and the smallest MTU of the cluster's in bytes. At the start all must be there;
   * later one that went away is left out, so that the rest can be reconfigured.
   */
  links(): { links: LinkRef[]; mtuBytes: number } {
    const { interfaces, roles } = this.#config
    const all = new Map(links().map(entry => [entry.name, entry]))
    const find = (name: string): Link[] => {
      const found = this.#applied === null ? this.#link(name) : all.get(name)
      return found === undefined ? [] : [found]
    }
    const names = new Set([
      ...(roles.includes('forwarder') ? interfaces.uplink : []),
      // A forwarder gets ICMP errors there, about what it sent to hosts.
      ...(roles.includes('forwarder') || roles.includes('host') ? interfaces.cluster : []),
    ])
    const cluster = interfaces.cluster.flatMap(find)
    return {
      links: [...names].flatMap(find).map(({ name, index }) => ({ name, index })),
      mtuBytes: cluster.length === 0 ? MTU_BYTES : Math.min(...cluster.map(({ mtu }) => mtu)),
    }
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
    if (this.#config.roles.includes('host')) this.#setHostSysctls()
    this.#setXdpSysctls(this.#config)
    const wanted = this.#wantedAddresses(this.#config, new Set())
    for (const { link: device, cidr } of wanted) this.#own(device, cidr)
    const rules = this.#ruleset(this.#config, this.#directory)
    const devices = this.#devices()
    await applyRuleset(buildRuleset(rules))
    this.#applied = { rules, devices }
    this.#release(this.#owned.filter(entry => !has(wanted, entry)))
    this.#sysctls.restoreOthers()
  }

  /**
   * Another configuration in the place of the one in force, while packets flow: what stays is not touched, and of the rules
   * a packet meets all old or all new ones. Comes before Dataplane.reconfigure. When it throws (SHUNT_ERR_NFT,
   * SHUNT_ERR_CAPABILITY, OsError), the configuration before is still in force.
   * @param keepVips VIPs that stay on `lo` though no service here needs them: connections still use them
   */
  reconfigure(config: NodeConfig, directory: Directory, keepVips: ReadonlySet<string>): Promise<void> {
    return this.#queue(() => this.#reconfigure(config, directory, keepVips))
  }

  async #reconfigure(config: NodeConfig, directory: Directory, keepVips: ReadonlySet<string>): Promise<void> {
    const applied = this.#applied
    if (applied === null) throw new ShuntError('SHUNT_ERR_DATAPLANE', 'reconfigure comes after apply')
    const wanted = this.#wantedAddresses(config, keepVips)
    const before = this.#owned
    const isHost = config.roles.includes('host')
    try {
      const rules = this.#ruleset(config, directory)
      const devices = this.#devices()
      const renewed = new Set(
        [...devices]
          .filter(([name, index]) => (applied.devices.get(name) ?? index) !== index)
          .map(([name]) => name),
      )
      if (isHost) this.#setHostSysctls()
      this.#setXdpSysctls(config)
      for (const entry of wanted) if (!has(this.#owned, entry)) this.#own(entry.link, entry.cidr)
      await this.#change(applied.rules, rules, renewed)
      this.#applied = { rules, devices }
    } catch (error) {
      this.#release(this.#owned.filter(entry => !has(before, entry)))
      if (!this.#config.roles.includes('host')) this.#sysctls.restore()
      throw error
    }
    this.#config = config
    this.#directory = directory
    this.#release(this.#owned.filter(entry => !has(wanted, entry)))
    // While a VIP is still held, the machine must not claim it on the wire.
    if (isHost || wanted.some(entry => entry.link === 'lo')) return
    this.#sysctls.restore()
    this.#setXdpSysctls(config)
  }

  /** Answers whether there was anything to change. */
  async #change(
    before: RulesetPlan,
    after: RulesetPlan,
    renewed: ReadonlySet<string> = new Set(),
  ): Promise<boolean> {
    const changes = changeRuleset(before, after, renewed)
    if (changes === '') return false
    try {
      await applyRuleset(changes)
    } catch {
      // Not as we left them (somebody flushed the ruleset): made anew, the routes come back lease by lease.
      await applyRuleset(buildRuleset(after))
    }
    return true
  }

  /** Runs after what is under way, whether that ends well or not. */
  #queue<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(run, run)
    this.#last = turn.catch(() => {})
    return turn
  }

  #wantedAddresses(config: NodeConfig, keepVips: ReadonlySet<string>): OwnedAddress[] {
    const { tunnel, tunnel6, cluster6 } = config.addresses
    const { name } = config.node
    const mine = config.services.filter(
      ({ vip, hosts }) =>
        hosts.some(host => host.name === name) && (!isIpv6Vip(vip) || cluster6 !== undefined),
    )
    const vips = new Set([
      ...keepVips,
      ...(config.roles.includes('host') ? mine.map(service => service.vip) : []),
    ])
    return [
      ...(config.roles.includes('forwarder') ? [tunnel, tunnel6] : []).flatMap(address =>
        address === undefined ? [] : [{ link: config.interfaces.cluster[0], cidr: wholeAddress(address) }],
      ),
      ...[...vips].map(vip => ({ link: 'lo', cidr: wholeAddress(vip) })),
    ]
  }

  /** Hosts hold the VIP and must not claim it on the wire: that is the forwarders' place. */
  #setHostSysctls(): void {
    this.#sysctls.set(['net', 'ipv4', 'conf', 'all', 'arp_ignore'], 1)
    this.#sysctls.set(['net', 'ipv4', 'conf', 'all', 'arp_announce'], 2)
    for (const name of this.#config.interfaces.cluster) {
      const path = ['net', 'ipv4', 'conf', name, 'rp_filter']
      if (
        Number(readSysctl(path)) !== 0 ||
        Number(readSysctl(['net', 'ipv4', 'conf', 'all', 'rp_filter'])) !== 0
      )
        this.#sysctls.set(path, RP_FILTER_LOOSE)
    }
  }

  /** XDP asks the kernel for next hops as for what this machine sends itself, which it answers only if `lo` forwards. */
  #setXdpSysctls({ roles }: NodeConfig): void {
    if (this.#mark === undefined || !roles.includes('forwarder')) return
    for (const family of ['ipv4', 'ipv6']) {
      const name = ['net', family, 'conf', 'lo', 'forwarding']
      if (hasSysctl(name)) this.#sysctls.set(name, 1)
    }
  }

  /** After the worker made its TUN device: at the start, and whenever the host role was gained. Harmless again. */
  tunReady(name: string): void {
    if (this.#config.addresses.cluster6 !== undefined) setTunSysctls(name)
    setLinkUp(name)
    // Loose validation refuses everything on an interface without an address (fib_validate_source), so it gets the
    // node's own, as unnumbered links do. Neither goes by the guard: both end with the device.
    addAddress(this.#link(name).index, `${this.#config.addresses.cluster}/32`)
    writeSysctl(['net', 'ipv4', 'conf', name, 'rp_filter'], RP_FILTER_LOOSE)
  }

  #own(device: string, cidr: string): void {
    const entry = { link: device, cidr }
    const before = this.#owned
    // An agent before added it; somebody may have taken it away since.
    if (has(before, entry)) return void addAddress(this.#link(device).index, cidr)
    this.#owned = [...before, entry]
    this.#saveOwned()
    if (addAddress(this.#link(device).index, cidr)) return
    // It was there before us: not ours to remove.
    this.#owned = before
    this.#saveOwned()
  }

  #saveOwned(): void {
    // Whole, then renamed: an agent that is killed here leaves the list of before.
    writeFileSync(`${this.#ownedPath}.new`, JSON.stringify(this.#owned))
    renameSync(`${this.#ownedPath}.new`, this.#ownedPath)
  }

  #release(entries: readonly OwnedAddress[]): void {
    if (entries.length === 0) return
    for (const { link: device, cidr } of entries) {
      try {
        deleteAddress(this.#link(device).index, cidr)
      } catch {
        // The interface went away, and its addresses with it.
      }
    }
    this.#owned = this.#owned.filter(entry => !entries.includes(entry))
    this.#saveOwned()
  }

  #releaseAddresses(): void {
    this.#release(this.#owned)
    rmSync(this.#ownedPath, { force: true })
  }

  #devices(): ReadonlyMap<string, number> {
    const { interfaces } = this.#config
    const present = new Map(links().map(({ name, index }) => [name, index]))
    const names = [...interfaces.uplink, ...interfaces.cluster]
    return new Map(names.flatMap(name => (present.has(name) ? [[name, present.get(name)!] as const] : [])))
  }

  #ruleset(config: NodeConfig, directory: Directory): RulesetPlan {
    const { tunnel, tunnel6, cluster6 } = config.addresses
    const forwarder = config.roles.includes('forwarder') && tunnel !== undefined
    const tunnels = (key: 'tunnel' | 'tunnel6'): string[] => config.peers.flatMap(peer => peer[key] ?? [])
    return {
      node: config.node.name,
      uplink: config.interfaces.uplink,
      cluster: config.interfaces.cluster,
      clusterAddress: config.addresses.cluster,
      clusterAddress6: cluster6,
      doneBy: this.#mark === undefined ? null : markText(this.#mark),
      forwarder: forwarder
        ? {
            tunnelAddress: tunnel,
            services: config.services,
            hosts: this.#nextHops(directory, host => host.words),
            ...(tunnel6 !== undefined && {
              tunnelAddress6: tunnel6,
              hosts6: this.#nextHops(directory, host => host.words6),
            }),
            routeCapacity: config.limits.flows,
          }
        : null,
      host: config.roles.includes('host')
        ? {
            tunnels: tunnels('tunnel'),
            ...(cluster6 !== undefined && { tunnels6: tunnels('tunnel6') }),
            mappingCapacity: config.limits.mappings,
          }
        : null,
    }
  }

  #nextHops(directory: Directory, wordsOf: (host: HostEntry) => Uint32Array | undefined): HostHop[] {
    const { uplink, cluster } = this.#config.interfaces
    const names = new Map<number, Link>()
    for (const name of cluster) names.set(this.#link(name).index, this.#link(name))
    const widest = Math.max(...uplink.map(name => this.#link(name).mtu))
    return directory.hosts.flatMap(host => {
      const words = wordsOf(host)
      if (host.self || words === undefined) return []
      const address = formatAddress(words, 0)
      try {
        const route = routeGet(address)
        const device = names.get(route.interfaceIndex)
        const mtu = route.mtu ?? device?.mtu ?? widest
        const narrow = mtu < widest ? { mtu } : {}
        return device === undefined
          ? []
          : [{ index: host.index, address, hop: route.gateway ?? address, link: device.name, ...narrow }]
      } catch {
        return [] // no route now: its packets stay on the slow path until there is one
      }
    })
  }

  /** Follows changed routes to hosts; call every few seconds on a forwarder. */
  refreshHops(): Promise<boolean> {
    return this.#queue(async () => {
      const applied = this.#applied
      if (applied === null || applied.rules.forwarder === null) return false
      const rules = this.#ruleset(this.#config, this.#directory)
      if (!(await this.#change(applied.rules, rules))) return false
      this.#applied = { ...applied, rules }
      return true
    })
  }

  /** Everything back as it was; each step is tried though an earlier one failed. Answers what went wrong. */
  undo(): Promise<unknown[]> {
    return this.#queue(() => this.#undo())
  }

  async #undo(): Promise<unknown[]> {
    this.#applied = null
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

const wholeAddress = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`

/** A TUN device takes IPv6 packets whatever the machine's default is, and nothing of its own making leaves by it. */
const setTunSysctls = (name: string): void => {
  const own = (key: string): string[] => ['net', 'ipv6', 'conf', name, key]
  const NO_LINK_LOCAL = 1
  writeSysctl(own('disable_ipv6'), 0)
  writeSysctl(own('addr_gen_mode'), NO_LINK_LOCAL)
  writeSysctl(own('accept_ra'), 0)
}
