/**
 * Why a packet or a mapping datagram was not passed on. Numbers are append-only: they are shown to operators,
 * kept in graphs, and never change their meaning. `NONE` means "not dropped" and is never counted.
 */
export const DROP = {
  NONE: 0,
  TRUNCATED: 1,
  BAD_VERSION: 2,
  BAD_HEADER_LENGTH: 3,
  BAD_TOTAL_LENGTH: 4,
  BAD_CHECKSUM: 5,
  FRAGMENT: 6,
  UNSUPPORTED_PROTOCOL: 7,
  TTL_EXPIRED: 8,
  NOT_A_SERVICE: 9,
  NO_CLASSIFIER: 10,
  NO_HOST: 11,
  TABLE_FULL: 12,
  IDENTIFIERS_EXHAUSTED: 13,
  HOLD_FULL: 14,
  HOLD_TIMEOUT: 15,
  UNKNOWN_IDENTIFIER: 16,
  SEND_FAILED: 17,
  MAPPING_TRUNCATED: 18,
  MAPPING_BAD_MAGIC: 19,
  MAPPING_BAD_VERSION: 20,
  MAPPING_BAD_KIND: 21,
  MAPPING_BAD_LENGTH: 22,
  MAPPING_BAD_TAG: 23,
  MAPPING_UNKNOWN_KEY: 24,
  MAPPING_TIME: 25,
  MAPPING_OLD_SEQUENCE: 26,
  MAPPING_OLD_EPOCH: 27,
  MAPPING_TUPLE_MISMATCH: 28,
  MAPPING_NOT_A_PEER: 29,
  MAPPING_WRONG_ROLE: 30,
  RING_FULL: 31,
  EVICTED_EMBRYONIC: 32,
  EXTENSION_HEADERS: 33,
  BAD_ADDRESS: 34,
  MAPPING_BAD_FLAGS: 35,
  TOO_BIG: 36,
  INACTIVE: 37,
  NO_IPV6: 38,
  CONGESTION_LOST: 39,
  ICMP_CHECKSUM: 40,
  ICMP_TYPE: 41,
  ICMP_EMBEDDED: 42,
  ICMP_NO_FLOW: 43,
  ICMP_RATE: 44,
  ICMP_UNREACHABLE: 45,
  UNRESOLVED: 46,
  RESOLVE_FULL: 47,
} as const

export type DropName = keyof typeof DROP
export type DropReason = (typeof DROP)[DropName]

export interface DropText {
  /** What happened, for a column of `shunt drops`. */
  readonly reason: string
  /** What the operator can do about it. */
  readonly hint: string
}

const SENDER = 'damaged or hostile traffic from outside; nothing to do unless it grows steadily'
const PEER = 'check that the node that sends it runs a compatible version of shunt'
const FORGED = 'somebody sends to the mapping port who is not a peer; restrict it to the cluster network'

const TEXT: Record<DropName, DropText> = {
  NONE: { reason: 'not dropped', hint: '' },
  TRUNCATED: { reason: 'packet shorter than its headers say', hint: SENDER },
  BAD_VERSION: { reason: 'neither IPv4 nor IPv6', hint: SENDER },
  BAD_HEADER_LENGTH: { reason: 'impossible IP, TCP or UDP header length', hint: SENDER },
  BAD_TOTAL_LENGTH: { reason: 'impossible IP or UDP length', hint: SENDER },
  BAD_CHECKSUM: {
    reason: 'wrong IPv4 header checksum',
    hint: 'check cables, network cards and their offloads',
  },
  FRAGMENT: {
    reason: 'a fragment that cannot be matched to a flow',
    hint: 'find what fragments: clients that ignore path MTU discovery, or an MTU that differs on the way',
  },
  UNSUPPORTED_PROTOCOL: { reason: 'neither TCP nor UDP', hint: 'only TCP and UDP services are balanced' },
  TTL_EXPIRED: {
    reason: 'TTL or hop limit used up',
    hint: 'look for a routing loop (traceroute to the VIP)',
  },
  NOT_A_SERVICE: {
    reason: 'no service has this VIP, port and protocol',
    hint: 'add the service to the configuration, or ignore it: scans look like this',
  },
  NO_CLASSIFIER: {
    reason: 'no classifier is reachable',
    hint: 'shunt status: start a classifier or repair its control link',
  },
  NO_HOST: {
    reason: 'no live host for the service',
    hint: 'shunt hosts -o wide tells why: start the application, undrain a host, or raise its capacity',
  },
  TABLE_FULL: { reason: 'flow or mapping table full', hint: 'raise limits.flows or limits.mappings' },
  IDENTIFIERS_EXHAUSTED: {
    reason: 'no free flow identifier',
    hint: 'raise limits.flows, add a forwarder, or shorten timeouts.quarantine',
  },
  HOLD_FULL: {
    reason: 'too many packets held',
    hint: 'raise limits.heldPackets, or find why answers are slow',
  },
  HOLD_TIMEOUT: {
    reason: 'a held packet got no answer in time',
    hint: 'check the mapping port (UDP) between forwarders, classifiers and hosts',
  },
  UNKNOWN_IDENTIFIER: {
    reason: 'no mapping for this flow identifier',
    hint: 'normal for moments after an agent restart; else check the mapping port from forwarder to host',
  },
  SEND_FAILED: {
    reason: 'the kernel refused to send',
    hint: 'check the route to the destination, and its MTU',
  },
  MAPPING_TRUNCATED: { reason: 'mapping datagram too short', hint: FORGED },
  MAPPING_BAD_MAGIC: { reason: 'not a mapping datagram', hint: FORGED },
  MAPPING_BAD_VERSION: { reason: 'mapping datagram of another version', hint: PEER },
  MAPPING_BAD_KIND: { reason: 'mapping datagram of unknown kind', hint: PEER },
  MAPPING_BAD_LENGTH: { reason: 'mapping datagram of impossible length', hint: PEER },
  MAPPING_BAD_TAG: {
    reason: 'mapping datagram with a wrong tag',
    hint: 'compare cluster.secrets of all nodes',
  },
  MAPPING_UNKNOWN_KEY: {
    reason: 'mapping datagram signed with an unknown key',
    hint: 'add the secret of that number to cluster.secrets on this node',
  },
  MAPPING_TIME: {
    reason: 'mapping datagram from another time',
    hint: 'synchronise the clocks of all nodes (NTP)',
  },
  MAPPING_OLD_SEQUENCE: {
    reason: 'mapping datagram repeated or overtaken',
    hint: 'normal in small numbers; many mean a replay or a loop',
  },
  MAPPING_OLD_EPOCH: {
    reason: 'mapping datagram of an earlier life of its sender',
    hint: 'normal after a restart; else two nodes share one tunnel address',
  },
  MAPPING_TUPLE_MISMATCH: { reason: 'packet does not belong to its mapping', hint: PEER },
  MAPPING_NOT_A_PEER: {
    reason: 'mapping datagram from an unknown node',
    hint: 'add the node to peers, or block it',
  },
  MAPPING_WRONG_ROLE: {
    reason: 'mapping datagram from a node without the role for it',
    hint: 'correct the roles of that node in peers',
  },
  RING_FULL: {
    reason: 'the packet ring overflowed',
    hint: 'the slow path is overloaded: see the slow packets of shunt flows; add a forwarder',
  },
  EVICTED_EMBRYONIC: {
    reason: 'a half-open flow was evicted for a newer one',
    hint: 'a SYN flood, or limits.embryonicFlows is too small',
  },
  EXTENSION_HEADERS: { reason: 'IPv6 extension headers that cannot be followed', hint: SENDER },
  BAD_ADDRESS: { reason: 'an address that must not be on the wire', hint: SENDER },
  MAPPING_BAD_FLAGS: { reason: 'mapping datagram whose flags and addresses disagree', hint: PEER },
  TOO_BIG: {
    reason: 'packet larger than the way to its host allows',
    hint: 'give the cluster network at least the MTU of the uplink',
  },
  INACTIVE: {
    reason: 'its flow is on a host that is inactive for the service',
    hint: 'shunt hosts -o wide: find why it is inactive; its flows go on as soon as it is active again',
  },
  NO_IPV6: {
    reason: 'the forwarder or its host has no IPv6 address in the cluster',
    hint: 'give every forwarder addresses.tunnel6 and every host addresses.cluster6 (shunt doctor names them)',
  },
  CONGESTION_LOST: {
    reason: 'marked for congestion on its way to the host, and its sender would not understand (RFC 6040)',
    hint: 'normal in small numbers where a router between forwarder and host marks instead of dropping',
  },
  ICMP_CHECKSUM: { reason: 'wrong ICMP checksum', hint: SENDER },
  ICMP_TYPE: {
    reason: 'an ICMP message that is neither an error nor an echo request',
    hint: 'nothing to do: nobody needs an answer to it',
  },
  ICMP_EMBEDDED: {
    reason: 'an ICMP error about a packet that is cut off too early, or of no TCP or UDP connection',
    hint: SENDER,
  },
  ICMP_NO_FLOW: {
    reason: 'an ICMP error about no connection that is known here',
    hint: 'normal when connections have just ended; many are forged ones, which do no harm',
  },
  ICMP_RATE: {
    reason: 'more ICMP messages than are passed on or answered',
    hint: 'a flood of pings or of forged errors; look for its source if it goes on',
  },
  ICMP_UNREACHABLE: {
    reason: 'a host, or something on the way to it, says that it cannot be reached',
    hint: 'shunt hosts -o wide; look for a firewall between forwarders and hosts',
  },
  UNRESOLVED: {
    reason: 'of a connection from elsewhere, and nobody said in time which host has it',
    hint: 'the client sends it again; if it goes on, see that load balancing units and hosts reach each other (shunt nodes)',
  },
  RESOLVE_FULL: {
    reason: 'of a connection from elsewhere, while too many others are asked about',
    hint: 'the client sends it again; if it goes on, a flood of packets of connections that are none',
  },
}

/** Text by number: `DROP_TEXT[DROP.TRUNCATED].reason`. */
export const DROP_TEXT: readonly DropText[] = (Object.keys(DROP) as DropName[])
  .sort((a, b) => DROP[a] - DROP[b])
  .map(name => TEXT[name])

export interface DropRow extends DropText {
  readonly number: number
  readonly count: number
}

/** One counter a reason. `counts` is exact up to 2^53 and may lie in shared memory. */
export class DropCounters {
  readonly counts: Float64Array

  constructor(counts: Float64Array = new Float64Array(DROP_TEXT.length)) {
    if (counts.length < DROP_TEXT.length)
      throw new RangeError(`drop counters need ${DROP_TEXT.length} places`)
    this.counts = counts
  }

  add(reason: number): void {
    this.counts[reason]++
  }

  /** The reasons that were counted at least once, by number. */
  snapshot(): DropRow[] {
    const rows: DropRow[] = []
    for (let number = 1; number < DROP_TEXT.length; number++) {
      const count = this.counts[number]
      if (count > 0) rows.push({ number, count, ...DROP_TEXT[number] })
    }
    return rows
  }
}
