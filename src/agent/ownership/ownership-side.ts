/** VIP ownership on this node: the core (src/ownership) with links, probes, kernel, disk, events and operators around it (R-A6). */
import type { Logger } from 'pino'
import { arpVips, DEFAULT_VIP_WEIGHT } from '../../config/announce.ts'
import type { NodeConfig } from '../../config/schema.ts'
import type { FailoverBody, FailoverData } from '../../control/types.ts'
import { errorText, ShuntError } from '../../errors.ts'
import { VIPS_VERSION } from '../../gossip/frame-format.ts'
import { encodeVipsFrame } from '../../gossip/frames.ts'
import type { PeerLinks } from '../../gossip/links-api.ts'
import type { PeerState } from '../../gossip/peer.ts'
import { Standstill } from '../../health/unit/standstill.ts'
import { readClocks } from '../../os/clock.ts'
import { decodeOwnership, encodeOwnership } from '../../ownership/codec.ts'
import { Ownership } from '../../ownership/ownership.ts'
import { OWNERSHIP_TIMES, type OwnershipTimes } from '../../ownership/settings.ts'
import type { Claim, OwnershipMessage } from '../../ownership/types.ts'
import type { Machine } from '../cluster/api.ts'
import type { EventLog } from '../events.ts'
import { type HolderState, Moves } from './moves.ts'
import { readClaims, writeClaims } from './saved-claims.ts'
import { VipAddresses } from './vip-addresses.ts'

/** Node has no longer timers. */
const MAX_TIMER_MS = 2_147_483_647
/** A clean end waits so long for others to take over. */
const LEAVE_MS = 3_000
const LOOK_MS = 20
/** An order that is not in force after so long is told to have failed. */
const ORDER_MS = 5_000

/** Nobody needs more, and a number is then as it was meant. */
const tenths = (ms: number): number => Math.round(ms * 10) / 10

export interface OwnershipSideParts {
  links: PeerLinks
  machine(name: string): Machine
  events: EventLog
  log: Logger
  /** VIPs that this machine's kernel goes on taking new connections for while it has no agent; null: not known yet. */
  alone(): ReadonlySet<string> | null
}

export class OwnershipSide {
  readonly #parts: OwnershipSideParts
  readonly #self: string
  readonly #stateDir: string
  readonly #addresses: VipAddresses
  readonly #moves: Moves
  readonly #standstill = new Standstill()
  readonly #watchers = new Set<() => void>()
  #config: NodeConfig
  #vips: readonly string[] = []
  /** Null where this node is no forwarder, or nothing is announced by ARP. */
  #core: Ownership | null = null
  #timer: NodeJS.Timeout | null = null
  #isSaving = false
  #stopped = false
  #leaving = false
  /** Messages that no peer should send. */
  #bad = 0

  constructor(config: NodeConfig, parts: OwnershipSideParts) {
    this.#config = config
    this.#parts = parts
    this.#self = config.node.name
    this.#stateDir = config.node.stateDir
    this.#moves = new Moves(this.#self, name => this.#stateOf(name))
    this.#addresses = new VipAddresses(config.interfaces.uplink, parts.log)
  }

  /** Before the links start. */
  start(): void {
    const { links } = this.#parts
    links.onFrame((peer, frame) => {
      if (frame.type === 'vips') this.#receive(peer, frame.body)
    })
    links.onChange(peer => this.#link(peer))
    this.follow(this.#config)
  }

  follow(config: NodeConfig): void {
    this.#config = config
    this.#addresses.follow(config.interfaces.uplink)
    const vips = config.roles.includes('forwarder') ? arpVips(config.services) : []
    const before = this.#vips
    this.#vips = vips
    this.#moves.keep(vips)
    if (vips.length === 0) return this.#end(before)
    const core = this.#core ?? this.#begin()
    for (const vip of before) if (!vips.includes(vip)) this.#addresses.release(vip)
    core.configure(this.#settings(), performance.now())
    if (this.#core === null) {
      this.#core = core
      const present = this.#addresses.present(vips)
      core.adopt(readClaims(this.#stateDir), present, performance.now())
      // Left behind by an agent that could not say so.
      for (const vip of present.keys()) if (!core.held.has(vip)) this.#addresses.release(vip)
      for (const peer of this.#parts.links.states()) this.#link(peer)
    }
    this.aloneChanged()
    this.machinesChanged()
  }

  /** What the packet path says of what the kernel does alone has changed. */
  aloneChanged(): void {
    const alone = this.#parts.alone()
    if (alone === null) return
    this.#core?.goesOnAlone(alone, performance.now())
    this.#wake()
  }

  /** What the probes say has changed. */
  machinesChanged(): void {
    const core = this.#core
    if (core === null) return
    const { links, machine } = this.#parts
    const nowMs = performance.now()
    // First: claims tell how many were seen.
    const seen = links.states().filter(({ name, state }) => {
      const { state: machineState } = machine(name)
      return machineState !== 'dead' && (machineState !== 'unknown' || state === 'alive')
    })
    core.seen(1 + seen.length, nowMs)
    for (const { name, roles } of this.#config.peers)
      if (roles.includes('forwarder')) {
        const { state } = machine(name)
        core.machine(name, state === 'suspect' ? 'alive' : state, nowMs)
      }
    this.#wake()
  }

  /** By VIP that is announced by ARP, who holds it as far as is known here; null: nobody. Null: this node does not know. */
  holderOf(vip: string): string | null {
    return this.#core?.claimOf(vip)?.holder || null
  }

  /** For how long (ms) others leave it with its holder from when they no longer hear its agent; null: this node does not know. */
  patienceMs(vip: string): number | null {
    return this.#core?.patienceMs(vip) ?? null
  }

  /** Whether an operator wants it there. */
  isOrdered(vip: string): boolean {
    return this.#core?.claimOf(vip)?.ordered ?? false
  }

  /** How many VIPs each forwarder holds; null where this node does not know. */
  heldBy(name: string): string[] | null {
    const core = this.#core
    if (core === null) return null
    return this.#vips.filter(vip => core.claimOf(vip)?.holder === name)
  }

  counters(): Record<string, number> {
    const entries = Object.entries({
      ...this.#core?.counters,
      held: this.#core?.held.size ?? 0,
      bad: this.#bad,
    })
    return Object.fromEntries(entries.map(([name, value]) => [`vips_${name}`, value]))
  }

  /**
   * Moves a VIP and waits until its new holder has said that it has it.
   * @throws ShuntError SHUNT_ERR_USAGE (no such VIP), SHUNT_ERR_GUARD (it cannot go there), SHUNT_ERR_PEER (not in force in time)
   */
  async failover({ vip, to, release = false }: FailoverBody): Promise<FailoverData> {
    const core = this.#core
    const { services } = this.#config
    if (services.some(service => service.vip === vip) && !arpVips(services).includes(vip))
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `${vip} is announced by routes (announce: routed): the router chooses its forwarder; there is nothing to fail over`,
      )
    if (core === null)
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `this node holds no virtual IPs: ask a forwarder, of services with announce: arp${this.#forwardersText()}`,
      )
    if (!this.#vips.includes(vip))
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `${vip} is not announced by ARP; there are: ${this.#vips.join(', ')}`,
      )
    const from = core.claimOf(vip)?.holder || null
    const startMs = performance.now()
    const claim = core.claimOf(vip)
    if (to !== undefined && claim?.holder === to && claim.ordered)
      return { vip, from, to, changed: false, ordered: true, tookMs: 0 }
    const answer = release ? core.endOrder(vip, startMs) : core.order(vip, to ?? null, startMs)
    this.#wake()
    if ('refused' in answer) throw new ShuntError('SHUNT_ERR_GUARD', answer.refused)
    const isThere = (): boolean => {
      const now = core.claimOf(vip)
      return now?.holder === answer.to && now.ordered === !release
    }
    if (!(await this.#until(isThere, ORDER_MS)))
      throw new ShuntError(
        'SHUNT_ERR_PEER',
        `${answer.to} did not ${release ? 'give up the order of' : 'take'} ${vip} within ${ORDER_MS / 1000} s; shunt vips tells who holds it, and shunt nodes how ${answer.to} is`,
      )
    const tookMs = tenths(performance.now() - startMs)
    return { vip, from, to: answer.to, changed: from !== answer.to, ordered: !release, tookMs }
  }

  #forwardersText(): string {
    const names = this.#config.peers
      .filter(({ roles }) => roles.includes('forwarder'))
      .map(({ name }) => name)
    return names.length === 0 ? '' : ` (--node; there are: ${names.join(', ')})`
  }

  /** A clean end: others take what is held here, or time is up. */
  async leave(): Promise<void> {
    const core = this.#core
    if (core === null) return
    this.#leaving = true
    core.leave(performance.now())
    this.#wake()
    await this.#until(() => core.hasLeft(performance.now()), LEAVE_MS)
    core.giveUp()
  }

  /** @param keep the kernel goes on holding for the next agent, until the leases end */
  stop(keep: boolean): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#addresses.stop()
    if (this.#core !== null) this.#save(this.#core)
    if (!keep) for (const vip of this.#vips) this.#addresses.release(vip)
  }

  #times(): OwnershipTimes {
    const { unattended, vipHold } = this.#config.timeouts
    return { ...OWNERSHIP_TIMES, graceMs: unattended, holdMs: vipHold }
  }

  #settings() {
    const { peers, node } = this.#config
    const forwarders = peers.filter(({ roles }) => roles.includes('forwarder')).map(({ name }) => name)
    const weight = node.vipWeight ?? DEFAULT_VIP_WEIGHT
    return { forwarders, vips: this.#vips, weight, times: this.#times() }
  }

  #begin(): Ownership {
    const port = {
      send: (to: string, message: OwnershipMessage): void =>
        void this.#parts.links.send(to, encodeVipsFrame(encodeOwnership(message))),
      hold: (claim: Claim, leaseMs: number): void => this.#hold(claim, leaseMs),
      release: (vip: string, claim: Claim): void => this.#release(vip, claim),
      renew: (vips: readonly string[], leaseMs: number): void => this.#addresses.renew(vips, leaseMs),
      changed: (): void => this.#changed(),
    }
    return new Ownership(this.#self, this.#times(), port, performance.now())
  }

  /** Nothing is to be held here any more: those that are left take it. */
  #end(vips: readonly string[]): void {
    this.#core?.giveUp()
    this.#core = null
    for (const vip of vips) this.#addresses.release(vip)
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #hold(claim: Claim, leaseMs: number): void {
    this.#addresses.hold(claim.vip, leaseMs)
    this.#tell(claim)
  }

  #release(vip: string, claim: Claim): void {
    this.#addresses.release(vip)
    // Else it is a VIP no longer.
    if (claim.holder !== this.#self) this.#tell(claim)
  }

  #tell(claim: Claim): void {
    const move = this.#moves.see(claim)
    if (move === null) return
    const { kind, severity, subject, text } = move
    this.#parts.log[severity === 'info' ? 'info' : 'warn']({ vip: claim.vip }, text)
    this.#parts.events.add(kind, severity, subject, text)
  }

  #stateOf(name: string): HolderState {
    if (name === this.#self) return this.#leaving ? 'leaving' : 'alive'
    const peer = this.#parts.links.states().find(state => state.name === name)
    if (peer?.draining) return 'leaving'
    const { peers } = this.#config
    if (!peers.some(each => each.name === name && each.roles.includes('forwarder'))) return 'none'
    return peer?.state === 'alive' ? 'alive' : 'silent'
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher()
    if (this.#isSaving) return
    this.#isSaving = true
    // Traffic does not wait for the disk.
    setImmediate(() => {
      this.#isSaving = false
      if (this.#core === null || this.#stopped) return
      // What this node neither took nor lost itself.
      for (const claim of this.#core.claims()) this.#tell(claim)
      this.#save(this.#core)
    })
  }

  #save(core: Ownership): void {
    try {
      writeClaims(this.#stateDir, core.claims())
    } catch (error) {
      this.#parts.log.error({ error: errorText(error) }, 'who holds virtual IPs could not be saved')
    }
  }

  #link({ name, state, version }: PeerState): void {
    this.#core?.link(name, state === 'alive' && (version ?? 0) >= VIPS_VERSION, performance.now())
    this.machinesChanged()
  }

  #receive(from: string, body: Uint8Array): void {
    const core = this.#core
    if (core === null) return
    let message: OwnershipMessage
    try {
      message = decodeOwnership(body)
    } catch (error) {
      this.#bad++
      this.#parts.log.debug({ from, error: errorText(error) }, 'a message about virtual IPs cannot be read')
      return
    }
    core.receive(from, message, performance.now())
    this.#wake()
  }

  #wake(): void {
    const core = this.#core
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (core === null || this.#stopped || !Number.isFinite(core.wakeAtMs)) return
    const delayMs = Math.min(MAX_TIMER_MS, Math.max(0, core.wakeAtMs - performance.now()))
    this.#timer = setTimeout(() => {
      if (this.#standstill.passed(readClocks())) core.stoodStill(performance.now())
      core.tick(performance.now())
      this.#wake()
    }, delayMs)
  }

  /** Whether it came true in time. */
  async #until(isSo: () => boolean, mostMs: number): Promise<boolean> {
    const endMs = performance.now() + mostMs
    while (!isSo()) {
      const leftMs = endMs - performance.now()
      if (leftMs <= 0) return false
      await new Promise<void>(resolve => {
        const done = (): void => {
          this.#watchers.delete(done)
          clearTimeout(timer)
          resolve()
        }
        const timer = setTimeout(done, Math.min(LOOK_MS, leftMs))
        this.#watchers.add(done)
      })
    }
    return true
  }
}
