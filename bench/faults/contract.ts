/**
 * What the suite asks of a balancer. A driver stands its balancer up on the common topology (a client, a router, nodes, hosts in network
 * namespaces of one lab), names the faults that it knows by the common names, and says how each is done there. All else (load, measuring,
 * repetitions, tables) is the suite's, and the same for all.
 */
import type { Lab } from '../../src/lab/lab.ts'

/** What fails. A balancer of one kind of process calls that `balancer process`; what it has no such part for, it leaves out. */
export const COMPONENTS = {
  'balancer process': 'forwarder agent, or the balancing daemons',
  'balancer node': 'node that carries connections',
  'classifier process': 'agent that chooses hosts, on another node',
  'classifier node': '',
  'host process': "agent on a host (not the host's application)",
  'host node': '',
  'whole node process': 'agent of a node that is forwarder, classifier and host',
  'whole node': 'forwarder, classifier and host in one',
  network: '',
  router: '',
} as const
export type Component = keyof typeof COMPONENTS

/** How it fails. */
export const WAYS = {
  killed: 'SIGKILL; started again after the hold',
  frozen: 'SIGSTOP; SIGCONT after the hold',
  restarted: 'SIGKILL, and started again at once, as an init system does',
  upgraded: 'ended as for an upgrade, and started again at once',
  left: 'taken out in order (the router first), ended by SIGTERM; started and put back after the hold',
  'cut off': 'the cable unplugged, with no goodbye; plugged in after the hold',
  dead: 'the cable unplugged, all processes killed and all state gone; booted after the hold',
  'parted from its like': 'balancers do not hear each other; all else they do; until the hold is over',
  'parted in halves':
    'two halves of the nodes do not hear each other, the router hears both; until the hold is over',
  'hash changed': 'the router gives running connections to other balancers by another hash seed',
} as const
export type Way = keyof typeof WAYS

export interface Fault {
  readonly component: Component
  readonly way: Way
  /** Hosts that are lost by it: connections to their applications cannot live on, and are counted apart. */
  readonly loses?: readonly string[]
  /** What goes with the fault needs no hold: it is over as soon as it has been done. */
  readonly atOnce?: boolean
  /** Finds out what is to be struck now (such as who is active), before the clock runs. */
  prepare?(): Promise<void>
  /** Does it; the clock runs from the call. */
  strike(): Promise<void>
  /** Undoes it. */
  heal(): Promise<void>
}

/** A balancer that is up. */
export interface Stage {
  readonly lab: Lab
  readonly vip: string
  readonly port: number
  readonly faults: readonly Fault[]
  /**
   * Takes the second host out for new connections, running ones go on; and takes it in again. Half of the connections are opened meanwhile, so that
   * what the balancer would choose now is not what it has chosen then: as after any change of shares, capacities or hosts.
   */
  shift(isOut: boolean): Promise<void>
  /** Waits until all is as before the first fault. Rejects when that does not come. */
  settled(): Promise<void>
  /** Whether each connection could stand one more loss; left out, or null, where the balancer cannot tell. */
  redundant?(): Promise<boolean | null>
  down(): Promise<void>
}

export interface StageOptions {
  /** Connections at once, at most. */
  readonly connections: number
  /** The compiled traffic program. */
  readonly program: string
  say(text: string): void
}

export interface Driver {
  readonly name: string
  /** A line for the report: what it is and how it is set up. */
  readonly about: string
  /** Why it cannot run on this machine. */
  missing(): string | undefined
  up(options: StageOptions): Promise<Stage>
}

export const faultName = ({ component, way }: Pick<Fault, 'component' | 'way'>): string =>
  `${component} ${way}`
