/** Two layouts of shunt: a node a role, and nodes that do all. */
import * as fields from '../../../src/config/fields.ts'
import { missingRoot } from '../../../test/support/skip.ts'
import type { Component, Driver, Fault, Stage, StageOptions, Way } from '../contract.ts'
import { partHalves } from '../lib/parts.ts'
import { cutOff, dead, frozen, killed, left, restarted, type Target, upgraded } from './shunt-acts.ts'
import { ShuntStage } from './shunt-stage.ts'

const PROCESS = { killed, frozen, restarted, upgraded } satisfies Partial<Record<Way, typeof killed>>
const MACHINE = { 'cut off': cutOff, dead } satisfies Partial<Record<Way, typeof killed>>

/** What can happen to a node: to its agent, and to the machine. Its death takes what runs on it along. */
const faultsOf = (
  stage: ShuntStage,
  struck: Target,
  process: Component,
  machine: Component,
  prepare?: () => Promise<void>,
): Fault[] => {
  const node = struck()
  const isHost = stage.lab.place(node).roles.includes('host')
  const make = (component: Component, [way, act]: [string, typeof killed]): Fault => ({
    component,
    way: way as Way,
    ...(way === 'dead' && isHost && { loses: [node] }),
    ...(prepare !== undefined && { prepare }),
    ...act(stage, struck),
  })
  return [
    ...Object.entries(PROCESS).map(entry => make(process, entry)),
    ...Object.entries(MACHINE).map(entry => make(machine, entry)),
    ...(isHost ? [] : [make(machine, ['left', left])]),
  ]
}

type Parts = readonly [readonly string[], readonly string[]]

const parted = async (stage: ShuntStage, way: Way, [left, right]: Parts): Promise<Fault> => {
  const { cut, heal } = await partHalves(stage.lab, left, right)
  return { component: 'network', way, strike: cut, heal }
}

const rehashed = (stage: ShuntStage): Fault => ({
  ...{ component: 'router', way: 'hash changed', atOnce: true },
  strike: () => stage.router!.reseed(),
  heal: async () => {},
})

const apart = async (options: StageOptions): Promise<Stage> => {
  const stage = await ShuntStage.up(options, { forwarders: 2, classifiers: 2, hosts: 3, combine: 'none' })
  stage.faults = [
    ...faultsOf(stage, () => 'f1', 'balancer process', 'balancer node'),
    ...faultsOf(stage, () => 'c1', 'classifier process', 'classifier node'),
    ...faultsOf(stage, () => 'h1', 'host process', 'host node'),
    await parted(stage, 'parted from its like', [
      ['f1', 'c1'],
      ['f2', 'c2'],
    ]),
    await parted(stage, 'parted in halves', [
      ['f1', 'c1', 'h1'],
      ['f2', 'c2', 'h2', 'h3'],
    ]),
    rehashed(stage),
  ]
  return stage
}

const together = async (options: StageOptions): Promise<Stage> => {
  const stage = await ShuntStage.up(options, { hosts: 3, combine: 'all' })
  stage.faults = [
    ...faultsOf(stage, () => 'n1', 'whole node process', 'whole node'),
    await parted(stage, 'parted in halves', [['n1'], ['n2', 'n3']]),
    rehashed(stage),
  ]
  return stage
}

/** As the pairs of keepalived: two balancers, of which the one that holds the virtual IP is struck. */
const byArp = async (options: StageOptions): Promise<Stage> => {
  const layout = { forwarders: 2, hosts: 3, combine: 'fc', announce: 'arp' } as const
  const stage = await ShuntStage.up(options, layout)
  let holder = 'f1'
  const prepare = async (): Promise<void> => {
    holder = (await stage.holder()) ?? holder
  }
  stage.faults = [
    ...faultsOf(stage, () => holder, 'balancer process', 'balancer node', prepare),
    ...faultsOf(stage, () => 'h1', 'host process', 'host node'),
    await parted(stage, 'parted from its like', [['f1'], ['f2']]),
    await parted(stage, 'parted in halves', [
      ['f1', 'h1'],
      ['f2', 'h2', 'h3'],
    ]),
  ]
  return stage
}

export const SHUNT: Driver = {
  name: 'shunt',
  about:
    'two forwarders, two classifiers, three hosts, each a node of its own, on XDP; equal-cost routes with detection of dead next hops in the router',
  missing: missingRoot,
  up: apart,
}

export const SHUNT_TOGETHER: Driver = {
  name: 'shunt-all',
  about: 'three nodes, each forwarder, classifier and host, on XDP; the same router',
  missing: missingRoot,
  up: together,
}

export const SHUNT_ARP: Driver = {
  name: 'shunt-arp',
  about:
    'two nodes that are forwarder and classifier, three hosts, on XDP; the router knows nothing of balancers, one of the two holds the virtual IP and answers ARP for it',
  missing: () =>
    'ANNOUNCES' in fields ? missingRoot() : 'this version does not announce virtual IPs by ARP',
  up: byArp,
}
