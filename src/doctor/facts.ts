/** What the doctor knows of this machine: collected once (collect.ts), judged by pure checks (checks/). */
import type { Standing } from '../agent/cluster/standing.ts'
import type { NodeFile } from '../config/schema.ts'
import type {
  ClusterData,
  ConfigData,
  DropsData,
  HealthData,
  HostsData,
  NodesData,
  StatusData,
  VipsData,
} from '../control/types.ts'

/** A fact, or why it could not be had. */
export type Known<T> = { readonly value: T } | { readonly error: string }

export interface LinkFact {
  readonly name: string
  readonly up: boolean
  readonly mtuBytes: number
}
export interface AddressFact {
  readonly link: string
  readonly address: string
  readonly prefixLength: number
}
export interface FileFact {
  readonly path: string
  /** What it is, for people: `identity`, `cluster secret 1`. */
  readonly what: string
  readonly required: boolean
  /** Permission bits; null when there is no such file. */
  readonly mode: number | null
}
/** A TCP or UDP socket of this network namespace, IPv4. */
export interface SocketFact {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  readonly listening: boolean
}
export interface AgentFacts {
  readonly status: StatusData
  readonly nodes: Known<NodesData>
  readonly hosts: Known<HostsData>
  readonly vips: Known<VipsData>
  readonly health: Known<HealthData>
  readonly drops: Known<DropsData>
  readonly cluster: Known<ClusterData>
  readonly config: Known<ConfigData>
  /** Nodes that are not in touch with this one though their control port takes connections. */
  readonly listening: readonly string[]
}

export interface Facts {
  /** Of this program. */
  readonly version: string
  readonly kernel: { readonly system: string; readonly release: string; readonly machine: string }
  /** Effective capabilities of this process, as /proc/self/status has them. */
  readonly capabilities: bigint
  /** What `nft --version` says. */
  readonly nftVersion: Known<string>
  /** Whether the kernel takes our kind of ruleset (checked, not applied). */
  readonly nftRuleset: Known<true>
  readonly hasTun: boolean
  /** Why the node file's `dataplane` cannot be XDP on its interfaces; null: it can, or need not. */
  readonly xdpHindrance: Known<string | null>
  /** XDP programs of an agent of this node are on interfaces, whether it runs or not. */
  readonly leftAtWork: boolean
  readonly configFile: string
  readonly config: Known<NodeFile>
  readonly links: Known<readonly LinkFact[]>
  readonly addresses: Known<readonly AddressFact[]>
  readonly sockets: Known<readonly SocketFact[]>
  /** Dotted name to value; those that this kernel has. */
  readonly sysctls: ReadonlyMap<string, string>
  readonly stateDir: {
    readonly path: string
    readonly mode: number | null
    readonly isDirectory: boolean
    readonly writable: boolean
    readonly freeBytes: number
  } | null
  readonly files: readonly FileFact[]
  /** By what is saved here; `null` when nothing of a managed cluster is. */
  readonly standing: Known<Standing | null>
  /** `node.cgroup`, and whether its counters can be read where the agent runs; null: the node file names none. */
  readonly cgroup: Known<{ readonly asked: string; readonly readable: boolean } | null>
  readonly clock: Known<{ readonly synchronised: boolean; readonly maxErrorMs: number }>
  readonly controlSocket: string
  readonly agent: Known<AgentFacts>
  /** Pid of the agent that holds the control socket though it did not answer; `null`: none does, or it is not known. */
  readonly holder: number | null
}

export type CheckStatus = 'pass' | 'warn' | 'fail' | 'skip'

/** A change that is safe to make on a running node and easy to undo. */
export type Remedy =
  | { readonly kind: 'sysctl'; readonly name: readonly string[]; readonly value: string }
  | { readonly kind: 'mode'; readonly path: string; readonly mode: number }

export interface Finding {
  readonly status: CheckStatus
  /** A sentence. */
  readonly text: string
  /** What to do about it. */
  readonly fix?: string
  /** The same, for --fix. */
  readonly remedy?: Remedy
}

export interface Check {
  readonly id: string
  readonly run: (facts: Facts) => Finding[]
}

export const pass = (text: string): Finding => ({ status: 'pass', text })
export const skip = (text: string): Finding => ({ status: 'skip', text })
export const warn = (text: string, fix: string, remedy?: Remedy): Finding => ({
  status: 'warn',
  text,
  fix,
  ...(remedy && { remedy }),
})
export const fail = (text: string, fix: string, remedy?: Remedy): Finding => ({
  status: 'fail',
  text,
  fix,
  ...(remedy && { remedy }),
})

/** The value, or null. */
export const valueIn = <T>(known: Known<T>): T | null => ('value' in known ? known.value : null)

/** Roles of this node: the agent's word, else the file's of a static cluster; null when neither is to be had. */
export const rolesOf = (facts: Facts): readonly string[] | null =>
  valueIn(facts.agent)?.status.roles ?? valueIn(facts.config)?.roles ?? null
