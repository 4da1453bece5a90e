/**
 * Two nodes of which one is active: keepalived (VRRP) gives the virtual IP to one of them, and moves it when that one is not heard any more.
 * The router knows nothing of balancers: it finds the virtual IP by ARP.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { Lab } from '../../../src/lab/lab.ts'
import { commandOf, isAlive, processesInside } from '../../../src/lab/processes.ts'
import type { Fault, Stage, StageOptions, Way } from '../contract.ts'
import { partHalves } from '../lib/parts.ts'
import {
  Applications,
  inside,
  ip,
  newName,
  prepareNetwork,
  SERVICE_PORT,
  signalAll,
} from '../lib/topology.ts'

export const VIP = '10.99.0.1'
/** The hosts' way back, where they have to answer through the active one: moves with the virtual IP. */
export const INNER_VIP = '10.10.0.200'
const NODES = ['f1', 'f2'] as const
const WAIT_MS = 20_000

/** What is particular to a balancer. */
export interface PairBalancer {
  /** Names of its processes, as the kernel shows them; keepalived's are known. */
  readonly commands: readonly string[]
  /** Once, before anything is started. */
  prepare?(pair: Pair): Promise<void>
  /** Brings one node's balancer up, or what is missing of it. */
  start(pair: Pair, node: string): Promise<void>
  /** As for an upgrade of it, running connections kept where it can do that; left out: it is stopped and started. */
  upgrade?(pair: Pair, node: string): Promise<void>
  /** A shell command that keepalived runs every second: the node gives the virtual IP up while it fails. */
  check?(pair: Pair, node: string): string
  shift(pair: Pair, isOut: boolean): Promise<void>
}

/** Until nothing lacks. @throws Error with what lacks */
const until = async (lacks: () => string | null): Promise<void> => {
  const endAt = performance.now() + WAIT_MS
  for (let lack = lacks(); lack !== null; lack = lacks()) {
    if (performance.now() > endAt) throw new Error(`not as it should be within ${WAIT_MS} ms: ${lack}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

const SYSCTLS = [
  'net.ipv4.ip_forward=1',
  'net.ipv4.ip_nonlocal_bind=1',
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
  'net.ipv4.conf.eth0.rp_filter=0',
  'net.ipv4.conf.all.send_redirects=0',
  'net.ipv4.conf.eth0.send_redirects=0',
  'net.ipv4.ip_local_port_range=1024 65535',
  'net.core.somaxconn=4096',
]

/** As quick as it can be made with some sense: advertisements every 100 ms (the default is a second), no fail-back by itself. */
const keepalivedConfig = (node: string, more: string): string => `
global_defs {
  router_id ${node}
  vrrp_garp_master_repeat 3
  vrrp_garp_master_delay 1
  vrrp_version 3
  enable_script_security
  script_user root
}
${more}
vrrp_instance faults {
  state BACKUP
  interface eth0
  virtual_router_id 77
  priority ${node === NODES[0] ? 110 : 100}
  advert_int 0.1
  nopreempt
  virtual_ipaddress {
    ${VIP}/32
    ${INNER_VIP}/32
  }
  ${more === '' ? '' : 'track_script {\n    balancer\n  }'}
}
`

const KEEPALIVED = 'keepalived'

export class Pair implements Stage {
  readonly vip = VIP
  readonly port = SERVICE_PORT
  readonly lab: Lab
  readonly connections: number
  readonly applications: Applications
  readonly #balancer: PairBalancer
  faults: readonly Fault[] = []
  #struck: string = NODES[0]

  private constructor(lab: Lab, balancer: PairBalancer, { program, connections }: StageOptions) {
    this.lab = lab
    this.connections = connections
    this.#balancer = balancer
    this.applications = new Applications(lab, program)
  }

  static async up(options: StageOptions, balancer: PairBalancer): Promise<Pair> {
    const lab = await Lab.up({ name: newName(), agents: false, forwarders: 2, hosts: 3, combine: 'fc' })
    try {
      const pair = new Pair(lab, balancer, options)
      await prepareNetwork(lab)
      await pair.applications.startAll()
      for (const node of NODES) await inside(lab.netns(node), ['sysctl', '-qw', ...SYSCTLS])
      await ip(lab.netns('router'), [`route replace ${VIP}/32 dev eth0`])
      await balancer.prepare?.(pair)
      for (const node of NODES) await pair.start(node)
      pair.faults = await pair.#allFaults()
      await pair.settled()
      return pair
    } catch (error) {
      await lab.down(0)
      throw error
    }
  }

  dir(node: string): string {
    const dir = `${this.lab.files(node).dir}/pair`
    mkdirSync(dir, { recursive: true })
    return dir
  }

  get commands(): string[] {
    return [KEEPALIVED, ...this.#balancer.commands]
  }

  /** What is missing of it. */
  async start(node: string): Promise<void> {
    await this.#balancer.start(this, node)
    if (this.runs(node, KEEPALIVED)) return
    const dir = this.dir(node)
    const check = this.#balancer.check?.(this, node)
    if (check !== undefined) writeFileSync(`${dir}/check`, `#!/bin/sh\n${check}\n`, { mode: 0o700 })
    const script = `vrrp_script balancer {\n  script ${dir}/check\n  interval 1\n  timeout 1\n  fall 1\n  rise 1\n}`
    writeFileSync(`${dir}/keepalived.conf`, keepalivedConfig(node, check === undefined ? '' : script))
    // As an init system does: one that was killed leaves them, and the next takes them for a sign that it runs.
    for (const name of ['keepalived', 'vrrp']) rmSync(`${dir}/${name}.pid`, { force: true })
    const pids = ['-p', `${dir}/keepalived.pid`, '-r', `${dir}/vrrp.pid`]
    this.spawn(node, [KEEPALIVED, '-P', '-n', '-l', '-G', '-f', `${dir}/keepalived.conf`, ...pids])
    await until(() => (this.runs(node, KEEPALIVED) ? null : `keepalived of ${node} does not run`))
  }

  /** It ends with the lab. */
  spawn(node: string, argv: string[]): void {
    const child = this.lab.spawn(node, argv)
    child.stdout!.resume()
    child.stderr!.resume()
    child.unref()
  }

  runs(node: string, command: string): boolean {
    return processesInside([this.lab.netns(node)]).some(p => commandOf(p.pid) === command && isAlive(p))
  }

  holds(node: string): boolean {
    const { stdout } = spawnSync('ip', ['-n', this.lab.netns(node), '-4', 'addr', 'show', 'dev', 'eth0'])
    return String(stdout).includes(`${VIP}/32`)
  }

  shift(isOut: boolean): Promise<void> {
    return this.#balancer.shift(this, isOut)
  }

  async settled(): Promise<void> {
    await until(() => {
      const active = NODES.filter(node => this.holds(node))
      if (active.length !== 1) return `active are ${active.join(' and ') || 'none'}`
      const missing = NODES.flatMap(node =>
        this.commands.filter(name => !this.runs(node, name)).map(name => `${name} of ${node}`),
      )
      return missing.length === 0 ? null : `${missing.join(', ')} does not run`
    })
  }

  async #end(node: string, signal: NodeJS.Signals): Promise<void> {
    signalAll(this.lab, node, this.commands, signal)
    await until(() => (this.commands.some(name => this.runs(node, name)) ? `${node} does not end` : null))
  }

  /** What a killed keepalived leaves: its address is the next one's, or the other node's. */
  async #start(node: string): Promise<void> {
    if (!this.runs(node, KEEPALIVED))
      for (const address of [VIP, INNER_VIP])
        spawnSync('ip', ['-n', this.lab.netns(node), 'addr', 'del', `${address}/32`, 'dev', 'eth0'])
    await this.start(node)
  }

  async #allFaults(): Promise<Fault[]> {
    const { lab } = this
    const active = async (): Promise<void> => {
      this.#struck = NODES.find(node => this.holds(node))!
    }
    const at = (
      way: Way,
      strike: (node: string) => Promise<void>,
      heal?: (node: string) => Promise<void>,
    ): Fault => ({
      ...{
        component:
          way === 'cut off' || way === 'dead' || way === 'left' ? 'balancer node' : 'balancer process',
        way,
      },
      ...(heal === undefined && { atOnce: true }),
      prepare: active,
      strike: () => strike(this.#struck),
      heal: async () => heal?.(this.#struck),
    })
    const upgrade = this.#balancer.upgrade
    const { cut, heal } = await partHalves(lab, ['f1'], ['f2'])
    const halved = await partHalves(lab, ['f1', 'h1'], ['f2', 'h2', 'h3'])
    return [
      at(
        'killed',
        async node => void signalAll(lab, node, this.commands, 'SIGKILL'),
        node => this.#start(node),
      ),
      at(
        'frozen',
        async node => void signalAll(lab, node, this.commands, 'SIGSTOP'),
        async node => void signalAll(lab, node, this.commands, 'SIGCONT'),
      ),
      at('restarted', async node => {
        await this.#end(node, 'SIGKILL')
        await this.#start(node)
      }),
      at('upgraded', async node => {
        if (upgrade !== undefined) return upgrade(this, node)
        await this.#end(node, 'SIGTERM')
        await this.#start(node)
      }),
      at(
        'cut off',
        node => lab.setLink(node, 'down'),
        node => lab.setLink(node, 'up'),
      ),
      at(
        'dead',
        async node => {
          await lab.setLink(node, 'down')
          await this.#end(node, 'SIGKILL')
        },
        async node => {
          for (const address of [VIP, INNER_VIP])
            spawnSync('ip', ['-n', lab.netns(node), 'addr', 'del', `${address}/32`, 'dev', 'eth0'])
          await lab.setLink(node, 'up')
          await this.#start(node)
        },
      ),
      at(
        'left',
        node => this.#end(node, 'SIGTERM'),
        node => this.#start(node),
      ),
      {
        component: 'host node',
        way: 'cut off',
        strike: () => lab.setLink('h1', 'down'),
        heal: () => lab.setLink('h1', 'up'),
      },
      {
        ...{ component: 'host node', way: 'dead', loses: ['h1'] },
        strike: async () => {
          await lab.setLink('h1', 'down')
          this.applications.kill('h1')
        },
        heal: async () => {
          await lab.setLink('h1', 'up')
          await this.applications.start('h1')
        },
      },
      { component: 'network', way: 'parted from its like', strike: cut, heal },
      { component: 'network', way: 'parted in halves', strike: halved.cut, heal: halved.heal },
    ]
  }

  async down(): Promise<void> {
    await this.lab.down(0)
  }
}
