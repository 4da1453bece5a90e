import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { NodeConfig } from '../config/schema.ts'
import { startControlServer } from '../control/server.ts'
import { errorText, ShuntError } from '../errors.ts'
import { readSecret } from '../gossip/identity.ts'
import { createPeerLinks, type PeerLinks } from '../gossip/links.ts'
import { createLogger } from '../log.ts'
import { releaseStartupPages } from '../os/memory.ts'
import { Dataplane } from './dataplane/dataplane.ts'
import { nextEpoch, saveEpoch } from './epoch.ts'
import { KernelSetup } from './kernel-setup.ts'
import { buildDirectory, buildPlan, TUN_NAME } from './plan.ts'
import { RoutesExchange } from './routes-exchange.ts'
import { type AgentState, View } from './view.ts'

const HOP_REFRESH_MS = 5000
/** After the start, when the code that only starting needs will not be needed again soon. */
const SETTLED_MS = 3000
const DRAIN_POLL_MS = 100
/** Two heartbeats: what peers sent before they heard of the drain has arrived by then. */
const DRAIN_SETTLE_MS = 500

/**
 * Runs an agent until SIGTERM or SIGINT, which end it after what is in flight has ended, at most `timeouts.drain`
 * later; a second signal ends it at once. Throws before it takes any traffic when something is missing.
 */
export const runAgent = async (config: NodeConfig): Promise<void> => {
  const log = createLogger(config.node.name, config.log.level)
  const agent = new Agent(config, log)
  const ended = new Promise<void>((resolve, reject) => {
    let signals = 0
    const onSignal = (signal: string): void => {
      signals++
      log.info({ signal }, signals === 1 ? 'stopping' : 'stopping at once')
      agent.stop(signals === 1 ? config.timeouts.drain : 0).then(resolve, reject)
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
    agent.onFailure = reject
  })
  // A failure while starting is start()'s to report.
  ended.catch(() => {})
  try {
    await agent.start()
  } catch (error) {
    await agent.stop(0)
    throw error
  }
  await ended
}

/** One node's parts in the order in which they start; `stop` undoes them in reverse. */
class Agent {
  onFailure: (error: Error) => void = () => {}
  readonly #config: NodeConfig
  readonly #log: Logger
  #state: AgentState = 'starting'
  #kernel: KernelSetup | null = null
  #dataplane: Dataplane | null = null
  #links: PeerLinks | null = null
  #control: { close(): Promise<void> } | null = null
  #hops: NodeJS.Timeout | null = null
  #settled: NodeJS.Timeout | null = null
  #stopping: Promise<void> | null = null
  #hurry = false

  constructor(config: NodeConfig, log: Logger) {
    this.#config = config
    this.#log = log
  }

  async start(): Promise<void> {
    const config = this.#config
    if (process.geteuid?.() !== 0) {
      throw new ShuntError(
        'SHUNT_ERR_CAPABILITY',
        'an agent needs root (CAP_NET_ADMIN, CAP_NET_RAW); run it as root or by the systemd unit',
      )
    }
    const secrets = config.cluster.secrets.map(({ number, file }) => ({ number, bytes: readSecret(file) }))
    const directory = buildDirectory(config)
    const kernel = new KernelSetup(config, directory)
    this.#kernel = kernel
    for (const warning of kernel.check()) this.#log.warn(warning)
    const { links, mtuBytes } = kernel.links()
    const epoch = config.roles.includes('forwarder')
      ? nextEpoch(config.node.stateDir, Math.floor(Date.now() / 1000))
      : 0
    await kernel.apply()
    const peerLinks = createPeerLinks({
      name: config.node.name,
      identityFile: config.node.identityFile,
      secret: secrets[0].bytes,
      listen: { address: config.addresses.cluster, port: config.cluster.controlPort },
      roles: config.roles,
      epoch,
      peers: config.peers,
      log: this.#log,
    })
    this.#links = peerLinks
    const exchange = new RoutesExchange({ links: peerLinks, directory, config, log: this.#log })
    const seed = randomBytes(8)
    const plan = buildPlan({
      config,
      directory,
      secrets,
      links,
      mtuBytes,
      epoch,
      tableKey: [seed.readUInt32LE(0), seed.readUInt32LE(4)],
    })
    const dataplane = await Dataplane.start(plan, {
      plumb: (forwarder, words) => exchange.plumb(forwarder, words),
      ended: words => exchange.ended(words),
      epoch: now => {
        this.#log.warn({ epoch: now }, 'a host knew a later epoch of this tunnel address; went past it')
        saveEpoch(config.node.stateDir, now)
      },
      failed: message => {
        this.#log.fatal({ message }, 'data plane worker failed')
        this.onFailure(new ShuntError('SHUNT_ERR_DATAPLANE', `the data plane worker failed: ${message}`))
      },
    })
    this.#dataplane = dataplane
    if (plan.host !== null) kernel.tunReady(TUN_NAME)
    exchange.attach(dataplane)
    await peerLinks.start()
    const view = new View({ config, directory, dataplane, links: peerLinks, state: () => this.#state })
    this.#control = await startControlServer({
      socketPath: config.node.controlSocket,
      view,
      node: config.node.name,
      log: this.#log,
    })
    this.#hops = setInterval(() => {
      kernel.refreshHops().then(
        changed => changed && this.#log.info('next hops to hosts changed'),
        error => this.#log.error({ error: errorText(error) }, 'next hops not refreshed'),
      )
    }, HOP_REFRESH_MS)
    this.#settled = setTimeout(
      () => this.#log.debug({ bytes: releaseStartupPages() }, 'start-up pages released'),
      SETTLED_MS,
    )
    this.#settled.unref()
    this.#state = 'running'
    this.#log.info(
      { roles: config.roles, epoch, services: config.services.length, peers: config.peers.length },
      'agent running',
    )
  }

  stop(drainMs: number): Promise<void> {
    if (drainMs === 0) this.#hurry = true
    this.#stopping ??= this.#stop(drainMs)
    return this.#stopping
  }

  async #stop(drainMs: number): Promise<void> {
    const wasRunning = this.#state === 'running'
    this.#state = 'draining'
    if (this.#hops !== null) clearInterval(this.#hops)
    if (this.#settled !== null) clearTimeout(this.#settled)
    if (wasRunning) {
      this.#links?.setDraining(true)
      await this.#drain(drainMs)
      await this.#links?.goodbye('stopping')
    }
    for (const [part, close] of [
      ['control', () => this.#control?.close()],
      ['dataplane', () => this.#dataplane?.stop()],
      ['links', () => this.#links?.stop()],
    ] as const) {
      try {
        await close()
      } catch (error) {
        this.#log.error({ part, error: errorText(error) }, 'part did not stop cleanly')
      }
    }
    for (const error of (await this.#kernel?.undo()) ?? [])
      this.#log.error({ error: errorText(error) }, 'kernel state not restored')
    this.#log.info('agent stopped')
  }

  /** Waits until no established flow passes through this node (peers stop choosing it meanwhile), within the bound. */
  async #drain(boundMs: number): Promise<void> {
    const startMs = performance.now()
    const settledMs = startMs + Math.min(DRAIN_SETTLE_MS, boundMs)
    while (!this.#hurry && performance.now() < startMs + boundMs) {
      const active = (await this.#dataplane?.status().catch(() => null))?.counters.active_flows ?? 0
      if (active === 0 && performance.now() >= settledMs) return
      await new Promise(resolve => setTimeout(resolve, DRAIN_POLL_MS))
    }
  }
}
