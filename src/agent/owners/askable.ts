/** Which of the hosts that could have a connection can be asked, and how many others may have it all the same. Pure. */
import type { MachineState } from '../../control/cluster-types.ts'
import { OWNERS_VERSION } from '../../gossip/frames.ts'
import type { PeerState } from '../../gossip/peer.ts'

/** A machine is waited for at least so long (ms): its cable may be out for a moment. */
const LEAST_MS = 5_000

export interface HostsToAsk {
  readonly live: readonly string[]
  /** Hosts that cannot be asked, and whose kernels may have connections. */
  readonly silent: number
}

export interface AskableView {
  readonly self: string
  readonly peers: readonly Pick<PeerState, 'name' | 'state' | 'version' | 'lastHeardMs'>[]
  machine(name: string): MachineState
  /** Since this agent runs (ms). */
  readonly upMs: number
  /** How long a dead machine is waited for (ms), 5,000 at least: then its connections are over. */
  readonly patienceMs: number
}

/** @param could names of hosts */
export const hostsToAsk = (could: Iterable<string>, view: AskableView): HostsToAsk => {
  const peers = new Map(view.peers.map(peer => [peer.name, peer]))
  const live: string[] = []
  let silent = 0
  for (const name of could) {
    const peer = peers.get(name)
    const answers = peer?.state === 'alive' && (peer.version ?? 0) >= OWNERS_VERSION
    if (name === view.self || answers) live.push(name)
    else if (!isGone(peer?.lastHeardMs ?? null, view.machine(name), view)) silent++
  }
  return { live, silent }
}

/** Where one was heard and its machine never answers probes, these are filtered, and say nothing. */
const isGone = (
  lastHeardMs: number | null,
  machine: MachineState,
  { upMs, patienceMs }: AskableView,
): boolean => {
  const mostMs = Math.max(LEAST_MS, patienceMs)
  if (machine === 'dead') return (lastHeardMs ?? upMs) > mostMs
  return machine === 'unknown' && lastHeardMs === null && upMs > mostMs
}
