/** What the links' own heartbeats and the probes of machines cost a node, by the rules of pace.ts and node-probe.ts (R-B7). Pure. */
import { encodeHeartbeat, encodeHeartbeatEcho } from '../src/gossip/frames.ts'
import { LIVENESS } from '../src/gossip/liveness.ts'
import { intervalOf, silenceOf } from '../src/gossip/pace.ts'
import { PROBE } from '../src/health/node-probe.ts'
import { AROUND_BYTES, PROBE_BYTES } from './lib/wire.ts'

interface OwnCost {
  /** Before there was a budget, and now. */
  rule: 'before' | 'now'
  /** To all peers, and as many come in. */
  heartbeatsPerS: number
  heartbeatBytesPerS: number
  /** Silence after which a peer is dead (ms). */
  silenceMs: number
  probesPerS: number
  /** Probes and the answers to them, or the other way round: what goes out and what comes in. */
  probeBytesPerS: number
  /** From a machine's last answer to its death, at most (ms). */
  probeDeathMs: number
}

const KNOWN = {
  sequence: 0,
  sentMs: 0,
  draining: false,
  wantsEcho: false,
  knowledge: { digest: 0n, revision: 0 },
}
/** Version 3 of the links, and the rule for probes that went with it: 64 a round, all targets in equal rounds. */
const BEFORE_PER_ROUND = 64

const cost = (
  rule: OwnCost['rule'],
  intervalMs: number,
  frame: Uint8Array,
  peers: number,
  perRound: number,
  rounds: number,
): OwnCost => {
  const { heartbeatMs, deadAfterMs, echoEvery } = LIVENESS
  const heartbeatsPerS = (peers * 1000) / intervalMs
  const echo = encodeHeartbeatEcho(KNOWN).length + AROUND_BYTES
  const probesPerS = (perRound * 1000) / PROBE.roundMs
  return {
    ...{ rule, heartbeatsPerS, probesPerS },
    heartbeatBytesPerS: heartbeatsPerS * (frame.length + AROUND_BYTES + echo / echoEvery),
    silenceMs: silenceOf(intervalMs, heartbeatMs, deadAfterMs),
    probeBytesPerS: 2 * probesPerS * PROBE_BYTES,
    probeDeathMs: PROBE.roundMs * rounds,
  }
}

/** @param peers other nodes of the cluster */
export const ownCosts = (peers: number): OwnCost[] => {
  const { heartbeatMs } = LIVENESS
  const probes = PROBE.deadAfter + 1
  const before = Math.ceil(peers / BEFORE_PER_ROUND)
  const intervalMs = intervalOf(peers, heartbeatMs)
  return [
    cost('before', heartbeatMs, encodeHeartbeat(KNOWN), peers, Math.ceil(peers / before), probes * before),
    cost(
      'now',
      intervalMs,
      encodeHeartbeat({ ...KNOWN, nextMs: intervalMs }),
      peers,
      Math.min(peers, PROBE.perRound),
      Math.ceil(probes * Math.max(1, peers / PROBE.perRound)),
    ),
  ]
}
