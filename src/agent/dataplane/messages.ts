import type { MessagePort } from 'node:worker_threads'
import type { NodeConfig } from '../../config/schema.ts'
import type { FlowOrigin, WorkerFunctions } from '../../control/types.ts'
import type { NodeState, ProbeTarget } from '../../health/node-probe.ts'
import type { AllotmentUpdate, HostLease } from '../classify/update.ts'
import type { CaptureBatch, CaptureOrder } from './capture.ts'
import type { Directory } from './directory.ts'
import type { Adopted, LastingPlan } from './lasting-plan.ts'
import type { EdgeStatus } from './xdp/edge.ts'
import type { XdpPlan } from './xdp/xdp-plan.ts'

/** A network interface that the data plane listens on. */
export interface LinkRef {
  readonly name: string
  readonly index: number
}

/** A tag key: for messages about one forwarder's tunnel address to one recipient, under one numbered secret. */
export interface MappingKey {
  readonly number: number
  readonly tunnelIpv4: number
  readonly recipientIpv4: number
  readonly words: Uint32Array
}

/** Everything the data plane worker needs, made by the main thread. */
export interface DataplanePlan {
  readonly table: string
  readonly directory: Directory
  readonly clusterAddress: string
  readonly clusterIpv4: number
  /** Where tunnelled IPv6 packets come to this node. */
  readonly clusterWords6?: Uint32Array | undefined
  readonly mappingPort: number
  readonly links: readonly LinkRef[]
  readonly mtuBytes: number
  readonly forwarder: {
    readonly tunnelIpv4: number
    readonly tunnelWords: Uint32Array
    readonly tunnelWords6?: Uint32Array | undefined
    readonly epoch: number
    readonly hasClassifier: boolean
    /**
     * The main thread takes 'atoms' and answers 'resolve': packets from the middle of unknown flows wait for that. Left out: no atoms,
     * and such packets go by the deterministic choice at once.
     */
    readonly resolves?: boolean
  } | null
  readonly classifier: boolean
  /** The main thread answers 'resolve' about clients too. Left out: first packets of clients wait for nothing. */
  readonly asksClients?: boolean
  readonly host: { readonly tun: string } | null
  /** Of what this node may send and receive; of each pair of addresses the first one signs. */
  readonly keys: readonly MappingKey[]
  /** Shared by the cluster: the deterministic choice. */
  readonly choiceKey: readonly [number, number]
  /** Random for each start: table hashing. */
  readonly tableKey: readonly [number, number]
  readonly limits: NodeConfig['limits']
  readonly timeouts: NodeConfig['timeouts']
  /** Null, or left out: nftables does it all. */
  readonly xdp?: XdpPlan | null
  /** Null, or left out: all state ends with the agent. */
  readonly lasting?: LastingPlan | null
}

export interface WorkerData {
  readonly plan: DataplanePlan
  readonly port: MessagePort
  /** Eventfd by which the main thread wakes the worker. */
  readonly wakeFd: number
}

/** Words of a route in a batch: flow key (10), host's cluster address (4; zero where none belongs). */
export const BATCH_WORDS = 14

/** What became of a route, in a record of 'atoms'. */
export const ATOM_OP = {
  /** An established flow (never a half-open one) goes to this host by this forwarder: AddAtom. Said again, it is the same. */
  put: 0,
  /** The flow is over: FIN or RST and its linger, or a time-out. */
  end: 1,
  /** Packets have come since the last one. */
  touch: 2,
  /** As `put`, of a client's session that began before this unit had heard of the others' ones: it gives way to every other. */
  unheard: 3,
} as const

/** Words of a record of 'atoms': flow key (10; with the kind in its top byte where that is no flow), host's cluster IPv4 word, ATOM_OP, service index. */
export const ATOM_WORDS = 13
/** A flow in use is told of so often: nobody should take one for idle before two of these (ms). */
export const ATOM_TOUCH_MS = 60_000

/** Words of a record of 'resolve': flow key (10), ATOM_KIND, service index, 1 when more than one packet of it has come lately (else 0). */
export const RESOLVE_WORDS = 13
/** Words of a record of 'resolved' and 'claimed': flow key (10), host's cluster IPv4 word (0: nobody has it), RESOLVED. */
export const RESOLVED_WORDS = 12

/** Who said which host a flow from its middle belongs to. */
export const RESOLVED = { nobody: 0, ownAtom: 1, memberAtom: 2, host: 3 } as const

export interface Query {
  readonly limit: number
  readonly service?: number
  readonly host?: number
  readonly client?: string
}

export type ToWorker =
  | {
      readonly type: 'hosts'
      readonly states: readonly {
        readonly index: number
        readonly live: boolean
        readonly draining: boolean
      }[]
    }
  | { readonly type: 'classifiers'; readonly live: readonly string[] }
  | { readonly type: 'plumb' | 'unplumb' | 'ended'; readonly words: Uint32Array }
  | { readonly type: 'status' | 'flows'; readonly id: number; readonly query?: Query }
  /** Answered by null when it runs, or by why it cannot; then `captured` until one has an end. */
  | { readonly type: 'capture'; readonly id: number; readonly order: CaptureOrder }
  | { readonly type: 'capture-stop' }
  /** Answered by a TraceLook. */
  | { readonly type: 'trace'; readonly id: number; readonly key: Uint32Array }
  /** Flow keys of ten words; answered by `mappedFlows` (mapped.ts). */
  | { readonly type: 'mapped'; readonly id: number; readonly words: Uint32Array }
  /** Another plan in the place of the one in force; answered by null, or by why it could not be. */
  | { readonly type: 'plan'; readonly id: number; readonly plan: DataplanePlan }
  /** Answered by null when no packet follows an earlier one any more. */
  | { readonly type: 'allotments'; readonly id: number; readonly update: AllotmentUpdate }
  /** Renewed much more often than anything else changes; not answered. */
  | { readonly type: 'leases'; readonly leases: readonly HostLease[] }
  /** Answers to 'resolve', each at any time; one that nobody waits for any more does nothing. */
  | { readonly type: 'resolved'; readonly words: Uint32Array }
  /**
   * Another member put an atom that was this node's: the flow's packets go there now, and this forwarder forgets its route. RESOLVED.nobody: it
   * ended it. A connection that has just begun here, on ports that were used before by way of the other, is told of again.
   */
  | { readonly type: 'claimed'; readonly words: Uint32Array }
  /** Answers to 'verify', of which there need be none: records of RESOLVED_WORDS, with `nobody` or `host`. */
  | { readonly type: 'verified'; readonly words: Uint32Array }
  /** Sessions of clients that other load balancing units have: records of RESOLVED_WORDS, with keys of the kind clientAddress. */
  | { readonly type: 'clients'; readonly words: Uint32Array }
  /** Tell of all routes again, some at a time: whoever keeps them begins anew, or has missed some. */
  | {
      readonly type: 'flows-all'
      /** This unit has heard nothing of the others' sessions yet: clients are asked about for a while. */
      readonly begins: boolean
    }
  /** So many messages 'atoms' were taken: no more of them are under way than the queue of this thread is to hold. */
  | { readonly type: 'atoms-taken'; readonly messages: number }
  | { readonly type: 'probe'; readonly targets: readonly ProbeTarget[] }
  /** `keep`: what the kernel does goes on without this agent, for the next. */
  | { readonly type: 'stop'; readonly keep: boolean }

export type FromWorker =
  | {
      readonly type: 'ready'
      readonly xdp: XdpState
      /** Null: there was nothing to take over. */
      readonly adopted: Adopted | null
      readonly epoch: number | null
    }
  | { readonly type: 'plumb'; readonly forwarderIpv4: number; readonly words: Uint32Array }
  | { readonly type: 'ended'; readonly words: Uint32Array }
  /** Routes, as atoms: records of ATOM_WORDS, in order. */
  | { readonly type: 'atoms'; readonly words: Uint32Array }
  /** Some ends were not told of, for want of room: those atoms stay until they are idle. Puts and touches come again by themselves. */
  | { readonly type: 'atoms-lost' }
  /** Whose are they? Records of RESOLVE_WORDS. Asked again, by and by, while packets wait. */
  | { readonly type: 'resolve'; readonly words: Uint32Array }
  /** Idle flows whose end may have passed unseen: do hosts still have them? Records of RESOLVE_WORDS, answered by 'verified'. */
  | { readonly type: 'verify'; readonly words: Uint32Array }
  | { readonly type: 'epoch'; readonly epoch: number }
  | { readonly type: 'nodes'; readonly states: readonly NodeState[] }
  /** VIPs for all services of which the kernel opens flows, with or without an agent (decision 35). */
  | { readonly type: 'alone'; readonly vips: readonly string[] }
  /** Indexes of services whose allotments are used up, or nearly. */
  | { readonly type: 'allotments-wanted'; readonly services: readonly number[] }
  | { readonly type: 'captured'; readonly batch: CaptureBatch }
  | { readonly type: 'answer'; readonly id: number; readonly data: unknown }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'stopped' }

/** Sends to the main thread; what is transferred is not this thread's any more. */
export type PostToMain = (message: FromWorker, transfer?: Uint32Array<ArrayBuffer>[]) => void

export interface FlowRow {
  readonly protocol: number
  readonly client: string
  readonly vip: string
  readonly host: number
  readonly identifier: number
  readonly state: 'embryonic' | 'established' | 'closing'
  readonly plumbed: boolean
  readonly origin: FlowOrigin
  readonly slowPackets: number
  readonly idleMs: number
}

/** What became of a plan's `xdp`. */
export interface XdpState {
  /** `xdp native on eth0`; null: it is not in force. */
  readonly text: string | null
  /** Why it is not, or not everywhere, or not native; a sentence each. */
  readonly reasons: readonly string[]
}

export interface WorkerStatus {
  /** What XDP has counted; null: it is not in force. */
  readonly edge: EdgeStatus | null
  readonly xdp: XdpState
  readonly adopted: Adopted | null
  readonly epoch: number | null
  readonly limits: readonly {
    readonly name: string
    readonly used: number
    readonly capacity: number
    readonly evicted: number
  }[]
  readonly counters: Record<string, number>
  /** CPU time of the thread so far (ms), and memory of each function's tables (bytes). */
  readonly cpuMs: number
  readonly tableBytes: WorkerFunctions
  /** By reason number. */
  readonly drops: Float64Array
  /** By host index, and by service index: flows now that are not closing, and flows ever. */
  readonly hostFlows: readonly number[]
  readonly hostConnections: readonly number[]
  /** By host index: what the agent itself sent there. */
  readonly hostPackets: readonly number[]
  readonly hostBytes: readonly number[]
  readonly serviceFlows: readonly number[]
  readonly serviceConnections: readonly number[]
  /** Sessions of clients by service index. */
  readonly serviceSessions: readonly number[]
  /** Host role: mappings by VIP. A VIP without any may be given up once no service needs it. */
  readonly hostVips: Readonly<Record<string, number>>
}
