/** shunt in a lab: the router has equal-cost routes to all forwarders, or asks for the virtual IP, which one of them holds. */
import { setTimeout as delay } from 'node:timers/promises'
import type { AtomsData, StatusData, VipsData } from '../../../src/control/types.ts'
import { Lab, type LabOptions } from '../../../src/lab/lab.ts'
import type { Fault, Stage, StageOptions } from '../contract.ts'
import { Router } from '../lib/router.ts'
import { Applications, newName, prepareNetwork, SERVICE_PORT } from '../lib/topology.ts'
import { lacks } from './shunt-acts.ts'

const VIP = '10.99.0.1'
const SERVICE = 'faults'
/** A frozen agent does not. */
const ANSWER_MS = 500
const SETTLE_MS = 60_000

/** `arp`: the router asks for the virtual IP, and one forwarder holds it. */
export type ShuntLayout = LabOptions & { readonly announce?: 'routed' | 'arp' }

export class ShuntStage implements Stage {
  readonly vip = VIP
  readonly port = SERVICE_PORT
  readonly lab: Lab
  readonly applications: Applications
  /** Null: it asks. */
  readonly router: Router | null
  faults: readonly Fault[] = []

  private constructor(lab: Lab, program: string, isRouted: boolean) {
    this.lab = lab
    this.applications = new Applications(lab, program)
    const hops = lab.forwarders.map(({ address }) => address!)
    this.router = isRouted ? new Router(lab, VIP, hops, program) : null
  }

  static async up({ program, say }: StageOptions, layout: ShuntLayout): Promise<ShuntStage> {
    const lab = await Lab.up({
      name: newName(),
      dataplane: 'xdp',
      mode: 'managed',
      services: [{ name: SERVICE, vip: VIP, port: SERVICE_PORT, protocol: 'tcp' }],
      ...layout,
    })
    try {
      say(`${lab.nodes.length} agents`)
      const stage = new ShuntStage(lab, program, layout.announce !== 'arp')
      await prepareNetwork(lab)
      // They listen where the suite's own application is to.
      for (const { name } of lab.hosts) lab.killWeb(name)
      await stage.applications.startAll()
      await stage.settled()
      return stage
    } catch (error) {
      await lab.down(0)
      throw error
    }
  }

  async withdraw(node: string): Promise<void> {
    if (this.#isForwarder(node)) await this.router?.withdraw(this.lab.place(node).address!)
  }
  async announce(node: string): Promise<void> {
    if (this.#isForwarder(node)) await this.router?.announce(this.lab.place(node).address!)
  }
  #isForwarder(node: string): boolean {
    return this.lab.place(node).roles.includes('forwarder')
  }

  async shift(isOut: boolean): Promise<void> {
    const { code, stderr } = await this.lab.shunt(this.lab.hosts[1]!.name, [
      isOut ? 'drain' : 'undrain',
      this.lab.hosts[1]!.name,
    ])
    if (code !== 0) throw new Error(`the order to ${isOut ? 'drain' : 'undrain'} failed: ${stderr}`)
  }

  /** Who has the virtual IP, where it is asked for. */
  async holder(): Promise<string | null> {
    const { vips } = await this.lab.api<VipsData>(this.lab.forwarders[0]!.name, '/v1/vips')
    const vip = vips.find(({ service }) => service === SERVICE)! as object as { holder?: string | null }
    return vip.holder ?? null
  }

  async #lacks(): Promise<string | null> {
    if (this.router?.isWhole === false) return 'the router does not use all forwarders'
    for (const { name, roles } of this.lab.nodes) {
      const lack = lacks(await this.lab.api<StatusData>(name, '/v1/status'))
      if (lack !== null) return `${name}: ${lack}`
      if (!roles.includes('classifier')) continue
      const { vips } = await this.lab.api<VipsData>(name, '/v1/vips')
      const ready = vips.find(({ service }) => service === SERVICE)?.ready
      if (ready !== this.lab.hosts.length)
        return `${name}: ${ready} of ${this.lab.hosts.length} hosts are ready`
    }
    return this.router === null && (await this.holder()) === null ? 'nobody holds the virtual IP' : null
  }

  /** As `shunt atoms` says it, of all units that answer. */
  async redundant(): Promise<boolean | null> {
    const units = this.lab.nodes.filter(({ roles }) => roles.some(role => role !== 'host'))
    const answers = await Promise.all(
      units.map(({ name }) =>
        Promise.race([
          this.lab.api<Pick<AtomsData, 'settled'>>(name, '/v1/atoms').then(
            ({ settled }) => settled,
            () => null,
          ),
          delay(ANSWER_MS, null),
        ]),
      ),
    )
    const known = answers.filter(answer => answer !== null)
    return known.length === 0 ? null : known.every(isSettled => isSettled)
  }

  async settled(): Promise<void> {
    const endAt = performance.now() + SETTLE_MS
    for (;;) {
      const lack = await this.#lacks().catch(error => String(error))
      if (lack === null) return
      if (performance.now() > endAt) throw new Error(`not as before within ${SETTLE_MS} ms: ${lack}`)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }

  async down(): Promise<void> {
    await this.lab.down(0)
  }
}
