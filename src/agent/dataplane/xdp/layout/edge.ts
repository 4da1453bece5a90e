/** Made by `make bpf-layouts` from the BTF of edge.bpf.c; the build fails when the two differ. Offsets and sizes are bytes. */

/** Names this layout: what was made by another one must not be read by it. */
export const EDGE_LAYOUT = 'e97213905d8f009d'

export const ANSWERED_BYTES = 2048
/** Offsets in `struct answered`. */
export const ANSWERED = {
  words: 0, // u64[256]
} as const

export const CAPTURE_CONFIG_BYTES = 88
/** Offsets in `struct capture_config`. */
export const CAPTURE_CONFIG = {
  on: 0, // u32
  snap: 4, // u32
  vipW: 8, // u32[4]
  vipMapped: 8, // u32[3]
  vipV4: 20, // u32[1]
  clientW: 24, // u32[4]
  clientMapped: 24, // u32[3]
  clientV4: 36, // u32[1]
  maskW: 40, // u32[4]
  maskMapped: 40, // u32[3]
  maskV4: 52, // u32[1]
  port: 56, // u16
  reserved: 58, // u16[3]
  untilNs: 64, // u64
  left: 72, // i64
  lost: 80, // u64
} as const

export const CAPTURE_SCRATCH_BYTES = 792
/** Offsets in `struct capture_scratch`. */
export const CAPTURE_SCRATCH = {
  counts: 0, // u64[64]
  recordAtNs: 512, // u64
  recordLink: 520, // u32
  recordLength: 524, // u32
  recordBytes: 528, // u16
  recordReason: 530, // u16
  recordVerdict: 532, // u32
  recordHead: 536, // u8[256]
} as const

export const CAPTURED_BYTES = 280
/** Offsets in `struct captured`. */
export const CAPTURED = {
  atNs: 0, // u64
  link: 8, // u32
  length: 12, // u32
  bytes: 16, // u16
  reason: 18, // u16
  verdict: 20, // u32
  head: 24, // u8[256]
} as const

export const CLASS_CHOICES_BYTES = 16384
/** Offsets in `struct class_choices`. */
export const CLASS_CHOICES = {
  hosts: 0, // u8[16384]
} as const

export const CLASS_CONFIG_BYTES = 152
/** Offsets in `struct class_config`. */
export const CLASS_CONFIG = {
  vouchedUntil: 0, // u64
  wallNs: 8, // u64
  on: 16, // u32
  epoch: 20, // u32
  sequence: 24, // u32
  own4: 28, // u32
  port: 32, // u16
  reserved: 34, // u16
  tunnelYoung: 36, // u32
  choiceKey: 40, // u32[2]
  reserved2: 48, // u32[2]
  answers: 56, // struct class_key[4]
} as const

export const CLASS_EVENT_BYTES = 40
/** Offsets in `struct class_event`. */
export const CLASS_EVENT = {
  key: 0, // u64
  high: 8, // u64
  low: 16, // u64
  value: 24, // u64
  type: 32, // u32
  sequence: 36, // u32
} as const

export const CLASS_KEY_BYTES = 24
/** Offsets in `struct class_key`. */
export const CLASS_KEY = {
  keyLow: 0, // u64
  keyHigh: 8, // u64
  number: 16, // u32
  used: 20, // u32
} as const

export const CLASS_POOL_BYTES = 4160
/** Offsets in `struct class_pool`. */
export const CLASS_POOL = {
  leaseUntil: 0, // u64
  head: 8, // u32
  tail: 12, // u32
  keyLow: 16, // u64
  keyHigh: 24, // u64
  keyNumber: 32, // u32
  clockS: 36, // i32
  reserved: 40, // u32[6]
  identifiers: 64, // u32[1024]
} as const

export const CLASS_SCRATCH_BYTES = 336
/** Offsets in `struct class_scratch`. */
export const CLASS_SCRATCH = {
  eventKey: 0, // u64
  eventHigh: 8, // u64
  eventLow: 16, // u64
  eventValue: 24, // u64
  eventType: 32, // u32
  eventSequence: 36, // u32
  outcomeExisting: 40, // u64
  outcomeVictimKey: 48, // u64
  outcomeVictimValue: 56, // u64
  outcomeVictimClientHigh: 64, // u64
  outcomeVictimClientLow: 72, // u64
  keyKey: 80, // u64
  keyClientHigh: 88, // u64
  keyClientLow: 96, // u64
  keyFirst: 104, // u32
  keySecond: 108, // u32
  headerFixedMagic: 112, // u8
  headerFixedVersionKind: 113, // u8
  headerFixedKeyNumber: 114, // u8
  headerFixedFlags: 115, // u8
  headerFixedEpoch: 116, // u32
  headerFixedSequence: 120, // u32
  headerFixedTime: 124, // u32
  headerFixedIdentifier: 128, // u32
  headerFixedProtocol: 132, // u8
  headerFixedHost: 133, // u8
  headerFixedInnerLength: 134, // u16
  headerFixedPorts: 136, // u16[2]
  headerClient: 140, // u32
  headerVip: 144, // u32
  headerNode: 148, // u32
  headerTag: 152, // u32[2]
  headerWords: 112, // u64[6]
  header6FixedMagic: 112, // u8
  header6FixedVersionKind: 113, // u8
  header6FixedKeyNumber: 114, // u8
  header6FixedFlags: 115, // u8
  header6FixedEpoch: 116, // u32
  header6FixedSequence: 120, // u32
  header6FixedTime: 124, // u32
  header6FixedIdentifier: 128, // u32
  header6FixedProtocol: 132, // u8
  header6FixedHost: 133, // u8
  header6FixedInnerLength: 134, // u16
  header6FixedPorts: 136, // u16[2]
  header6Client: 140, // u32[4]
  header6Vip: 156, // u32[4]
  header6Node: 172, // u32[4]
  header6Tag: 188, // u32[2]
  header6Words: 112, // u64[10]
  words: 200, // u32[10]
  srcW: 240, // u32[4]
  srcMapped: 240, // u32[3]
  srcV4: 252, // u32[1]
  dstW: 256, // u32[4]
  dstMapped: 256, // u32[3]
  dstV4: 268, // u32[1]
  clientW: 272, // u32[4]
  clientMapped: 272, // u32[3]
  clientV4: 284, // u32[1]
  vipW: 288, // u32[4]
  vipMapped: 288, // u32[3]
  vipV4: 300, // u32[1]
  hopDeviceLink: 304, // u32
  hopDeviceVlanType: 308, // u16
  hopDeviceVlanTci: 310, // u16
  hopSource: 312, // u8[6]
  hopDestination: 318, // u8[6]
  lost: 328, // u64
} as const

export const CLASS_SERVICE_BYTES = 16
/** Offsets in `struct class_service`. */
export const CLASS_SERVICE = {
  until: 0, // u64
  choices: 8, // u32
  reserved: 12, // u32
} as const

export const COARSE_TIME_BYTES = 16
/** Offsets in `struct coarse_time`. */
export const COARSE_TIME = {
  jiffies: 0, // u64
  now: 8, // u64
} as const

export const CONTROL_EVENT_BYTES = 8
/** Offsets in `struct control_event`. */
export const CONTROL_EVENT = {
  identifier: 0, // u32
  tunnel: 4, // u8
  generation: 5, // u8
  tcpFlags: 6, // u8
  reserved: 7, // u8
} as const

export const COUNTS_BYTES = 512
/** Offsets in `struct counts`. */
export const COUNTS = {
  packets: 0, // u64[64]
} as const

export const DEVICE_BYTES = 8
/** Offsets in `struct device`. */
export const DEVICE = {
  link: 0, // u32
  vlanType: 4, // u16
  vlanTci: 6, // u16
} as const

export const EDGE_CONFIG_BYTES = 64
/** Offsets in `struct edge_config`. */
export const EDGE_CONFIG = {
  roles: 0, // u32
  localHost: 4, // u32
  fibInterface: 8, // u32
  hopLifeNs: 12, // u32
  hopGeneration: 16, // u32
  reserved: 20, // u32[3]
  tunnel4W: 32, // u32[4]
  tunnel4Mapped: 32, // u32[3]
  tunnel4V4: 44, // u32[1]
  tunnel6W: 48, // u32[4]
  tunnel6Mapped: 48, // u32[3]
  tunnel6V4: 60, // u32[1]
} as const

export const HOST_BYTES = 32
/** Offsets in `struct host`. */
export const HOST = {
  families: 0, // u32
  ipv4: 4, // u32
  ipv6: 8, // u32[4]
  reserved: 24, // u64
} as const

export const ICMP_BUCKET_BYTES = 16
/** Offsets in `struct icmp_bucket`. */
export const ICMP_BUCKET = {
  empty: 0, // u64[2]
} as const

export const ICMP_TUPLE_BYTES = 56
/** Offsets in `struct icmp_tuple`. */
export const ICMP_TUPLE = {
  sourceW: 0, // u32[4]
  sourceMapped: 0, // u32[3]
  sourceV4: 12, // u32[1]
  senderW: 16, // u32[4]
  senderMapped: 16, // u32[3]
  senderV4: 28, // u32[1]
  receiverW: 32, // u32[4]
  receiverMapped: 32, // u32[3]
  receiverV4: 44, // u32[1]
  ports: 48, // u16[2]
  protocol: 52, // u8
  hasCheck: 53, // u8
} as const

export const ICMP_WORK_BYTES = 76
/** Offsets in `struct icmp_work`. */
export const ICMP_WORK = {
  tupleSourceW: 0, // u32[4]
  tupleSourceMapped: 0, // u32[3]
  tupleSourceV4: 12, // u32[1]
  tupleSenderW: 16, // u32[4]
  tupleSenderMapped: 16, // u32[3]
  tupleSenderV4: 28, // u32[1]
  tupleReceiverW: 32, // u32[4]
  tupleReceiverMapped: 32, // u32[3]
  tupleReceiverV4: 44, // u32[1]
  tuplePorts: 48, // u16[2]
  tupleProtocol: 52, // u8
  tupleHasCheck: 53, // u8
  hopDeviceLink: 56, // u32
  hopDeviceVlanType: 60, // u16
  hopDeviceVlanTci: 62, // u16
  hopSource: 64, // u8[6]
  hopDestination: 70, // u8[6]
} as const

export const KNOWN_HOP_BYTES = 40
/** Offsets in `struct known_hop`. */
export const KNOWN_HOP = {
  until: 0, // u64
  generation: 8, // u32
  mtu: 12, // u32
  hopDeviceLink: 16, // u32
  hopDeviceVlanType: 20, // u16
  hopDeviceVlanTci: 22, // u16
  hopSource: 24, // u8[6]
  hopDestination: 30, // u8[6]
} as const

export const LEARN_CONFIG_BYTES = 64
/** Offsets in `struct learn_config`. */
export const LEARN_CONFIG = {
  until: 0, // u64
  unixNs: 8, // u64
  window: 16, // u32
  port: 20, // u16
  reserved: 22, // u16
  own4W: 24, // u32[4]
  own4Mapped: 24, // u32[3]
  own4V4: 36, // u32[1]
  own6W: 40, // u32[4]
  own6Mapped: 40, // u32[3]
  own6V4: 52, // u32[1]
  lost: 56, // u64
} as const

export const LEARN_KEY_BYTES = 24
/** Offsets in `struct learn_key`. */
export const LEARN_KEY = {
  keyLow: 0, // u64
  keyHigh: 8, // u64
  number: 16, // u32
  reserved: 20, // u32
} as const

export const LEARN_MESSAGE_BYTES = 88
/** Offsets in `struct learn_message`. */
export const LEARN_MESSAGE = {
  keyIdentifier: 0, // u32
  keyTunnel: 4, // u8
  keyGeneration: 5, // u8
  keyReserved: 6, // u16
  mappingClient: 8, // u32[4]
  mappingPort: 24, // u16
  mappingService: 26, // u16
  mappingEpoch: 28, // u32
  mappingSequence: 32, // u32
  mappingProtocol: 36, // u8
  mappingHost: 37, // u8
  mappingTunnelled: 38, // u8
  mappingTcpFlags: 39, // u8
  vipW: 40, // u32[4]
  vipMapped: 40, // u32[3]
  vipV4: 52, // u32[1]
  length: 56, // u32
  inner: 60, // u32
  answerKeyLow: 64, // u64
  answerKeyHigh: 72, // u64
  answerNumber: 80, // u32
  answerReserved: 84, // u32
} as const

export const LEARN_TUNNEL_BYTES = 152
/** Offsets in `struct learn_tunnel`. */
export const LEARN_TUNNEL = {
  word: 0, // u64
  sender: 8, // u32[4]
  reserved: 24, // u64
  keys: 32, // struct learn_key[4]
  answerKeyLow: 128, // u64
  answerKeyHigh: 136, // u64
  answerNumber: 144, // u32
  answerReserved: 148, // u32
} as const

export const LEARNT_BYTES = 32
/** Offsets in `struct learnt`. */
export const LEARNT = {
  client: 0, // u32[4]
  port: 16, // u16
  service: 18, // u16
  epoch: 20, // u32
  sequence: 24, // u32
  protocol: 28, // u8
  host: 29, // u8
  tunnelled: 30, // u8
  tcpFlags: 31, // u8
} as const

export const LEARNT_EVENT_BYTES = 40
/** Offsets in `struct learnt_event`. */
export const LEARNT_EVENT = {
  keyIdentifier: 0, // u32
  keyTunnel: 4, // u8
  keyGeneration: 5, // u8
  keyReserved: 6, // u16
  mappingClient: 8, // u32[4]
  mappingPort: 24, // u16
  mappingService: 26, // u16
  mappingEpoch: 28, // u32
  mappingSequence: 32, // u32
  mappingProtocol: 36, // u8
  mappingHost: 37, // u8
  mappingTunnelled: 38, // u8
  mappingTcpFlags: 39, // u8
} as const

export const LEARNT_KEY_BYTES = 8
/** Offsets in `struct learnt_key`. */
export const LEARNT_KEY = {
  identifier: 0, // u32
  tunnel: 4, // u8
  generation: 5, // u8
  reserved: 6, // u16
} as const

export const MAPPING_FIXED_BYTES = 28
/** Offsets in `struct mapping_fixed`. */
export const MAPPING_FIXED = {
  magic: 0, // u8
  versionKind: 1, // u8
  keyNumber: 2, // u8
  flags: 3, // u8
  epoch: 4, // u32
  sequence: 8, // u32
  time: 12, // u32
  identifier: 16, // u32
  protocol: 20, // u8
  host: 21, // u8
  innerLength: 22, // u16
  ports: 24, // u16[2]
} as const

export const NEXT_HOP_BYTES = 20
/** Offsets in `struct next_hop`. */
export const NEXT_HOP = {
  deviceLink: 0, // u32
  deviceVlanType: 4, // u16
  deviceVlanTci: 6, // u16
  source: 8, // u8[6]
  destination: 14, // u8[6]
} as const

export const ROUTE_BUCKET_BYTES = 64
/** Offsets in `struct route_bucket`. */
export const ROUTE_BUCKET = {
  entries: 0, // struct route_entry[4]
} as const

export const ROUTE_BUCKET6_BYTES = 128
/** Offsets in `struct route_bucket6`. */
export const ROUTE_BUCKET6 = {
  bucketEntries: 0, // struct route_entry[4]
  clients: 64, // struct route_client[4]
} as const

export const ROUTE_CLIENT_BYTES = 16
/** Offsets in `struct route_client`. */
export const ROUTE_CLIENT = {
  high: 0, // u64
  low: 8, // u64
} as const

export const ROUTE_ENTRY_BYTES = 16
/** Offsets in `struct route_entry`. */
export const ROUTE_ENTRY = {
  key: 0, // u64
  value: 8, // u64
} as const

export const ROUTE_KEY_BYTES = 32
/** Offsets in `struct route_key`. */
export const ROUTE_KEY = {
  key: 0, // u64
  clientHigh: 8, // u64
  clientLow: 16, // u64
  first: 24, // u32
  second: 28, // u32
} as const

export const ROUTE_OUTCOME_BYTES = 40
/** Offsets in `struct route_outcome`. */
export const ROUTE_OUTCOME = {
  existing: 0, // u64
  victimKey: 8, // u64
  victimValue: 16, // u64
  victimClientHigh: 24, // u64
  victimClientLow: 32, // u64
} as const

export const ROUTE_SECRET_BYTES = 64
/** Offsets in `struct route_secret`. */
export const ROUTE_SECRET = {
  add: 0, // u64[6]
  mix: 48, // u64[2]
} as const

export const SERVICE_BUCKET_BYTES = 256
/** Offsets in `struct service_bucket`. */
export const SERVICE_BUCKET = {
  slots: 0, // struct service_slot[8]
} as const

export const SERVICE_SLOT_BYTES = 32
/** Offsets in `struct service_slot`. */
export const SERVICE_SLOT = {
  vip: 0, // u32[4]
  word: 16, // u64
  reserved: 24, // u64
} as const

export const SIPHASH_KEY_BYTES = 16
/** Offsets in `struct siphash_key`. */
export const SIPHASH_KEY = {
  low: 0, // u64
  high: 8, // u64
} as const

export const STACK_MARK_BYTES = 8
/** Offsets in `struct stack_mark`. */
export const STACK_MARK = {
  source: 0, // u8[6]
  on: 6, // u16
} as const

export const TARGET_BYTES = 64
/** Offsets in `struct target`. */
export const TARGET = {
  ipv6: 0, // u32[4]
  ipv4: 16, // u32
  word: 20, // u32
  reserved: 24, // u32[10]
} as const

export const TRAFFIC_BYTES = 16
/** Offsets in `struct traffic`. */
export const TRAFFIC = {
  packets: 0, // u64
  bytes: 8, // u64
} as const

export const TUNNEL_SLOT_BYTES = 64
/** Offsets in `struct tunnel_slot`. */
export const TUNNEL_SLOT = {
  tunnel: 0, // u32[4]
  own: 16, // u32[4]
  word: 32, // u32
  reserved: 36, // u32[7]
} as const

/** `enum class_event_type`. */
export const CLASS_EVENT_TYPE = {
  CLASS_OPENED: 1,
  CLASS_MAPPED: 2,
  CLASS_PROMOTED: 3,
  CLASS_CLOSING: 4,
  CLASS_REOPENED: 5,
  CLASS_GONE: 6,
  CLASS_ROUTE_GONE: 7,
  CLASS_UNUSED: 8,
} as const

/** `enum counter`. */
export const COUNTER = {
  COUNT_NONE: 0,
  COUNT_NOT_IP: 1,
  COUNT_VLAN_TAGS: 2,
  COUNT_NOT_A_VIP: 3,
  COUNT_TRUNCATED: 4,
  COUNT_BAD_VERSION: 5,
  COUNT_BAD_HEADER_LENGTH: 6,
  COUNT_BAD_TOTAL_LENGTH: 7,
  COUNT_BAD_CHECKSUM: 8,
  COUNT_BAD_ADDRESS: 9,
  COUNT_EXTENSION_HEADERS: 10,
  COUNT_UNSUPPORTED_PROTOCOL: 11,
  COUNT_FRAGMENT: 12,
  COUNT_TCP_CONTROL: 13,
  COUNT_NO_ROUTE: 14,
  COUNT_NOT_MAPPED: 15,
  COUNT_TTL_EXPIRED: 16,
  COUNT_NO_HOST: 17,
  COUNT_NO_NEIGHBOUR: 18,
  COUNT_NO_NEXT_HOP: 19,
  COUNT_TOO_BIG: 20,
  COUNT_OTHER_INTERFACE: 21,
  COUNT_NOT_A_SERVICE: 22,
  COUNT_SENT_BACK: 23,
  COUNT_REDIRECTED: 24,
  COUNT_LOCAL: 25,
  COUNT_RESTORED: 26,
  COUNT_NO_MAPPING: 27,
  COUNT_NOT_TO_VIP: 28,
  COUNT_ROLE_OFF: 29,
  COUNT_NOT_TUNNELLED: 30,
  COUNT_LINK_MULTICAST: 31,
  COUNT_CLASSIFIED: 32,
  COUNT_WITH_MAPPING: 33,
  COUNT_NO_IDENTIFIER: 34,
  COUNT_LEASE_OVER: 35,
  COUNT_GRACE_OVER: 36,
  COUNT_MAPPING_ACK: 37,
  COUNT_NO_ROOM: 38,
  COUNT_LEARNT: 39,
  COUNT_LEARNT_AGAIN: 40,
  COUNT_MAPPING_UNUSUAL: 41,
  COUNT_MAPPING_REFUSED: 42,
  COUNT_ICMP_ECHO: 44,
  COUNT_ICMP_TO_HOST: 45,
  COUNT_ICMP_LOCAL: 46,
  COUNT_ICMP_RESTORED: 47,
  COUNT_ENCAPSULATED: 50,
  COUNT_DECAPSULATED: 51,
  COUNT_BAD_INNER: 52,
  COUNT_CONGESTION_LOST: 53,
  COUNT_NO_HEADROOM: 54,
  COUNT_MAPPING_ANSWERED: 55,
  COUNT_ICMP_LIMITED: 56,
  COUNTERS: 64,
} as const

/** Maps; `layout` names what keys and values are made of. */
export const EDGE_MAPS = {
  answered: { name: 'answered', keyBytes: 4, valueBytes: 2048, layout: '73ecd430' }, // u32 to struct answered
  captureScratches: { name: 'capture_scratches', keyBytes: 4, valueBytes: 792, layout: 'cf169e0a' }, // u32 to struct capture_scratch
  captures: { name: 'captures', keyBytes: 0, valueBytes: 0, layout: 'e2ee3530' }, // none to none
  classChoices: { name: 'class_choices', keyBytes: 4, valueBytes: 16384, layout: 'a34c3bac' }, // u32 to struct class_choices
  classEvents: { name: 'class_events', keyBytes: 0, valueBytes: 0, layout: 'e2ee3530' }, // none to none
  classPools: { name: 'class_pools', keyBytes: 4, valueBytes: 4160, layout: 'a459ee18' }, // u32 to struct class_pool
  classScratch: { name: 'class_scratch', keyBytes: 4, valueBytes: 336, layout: '1ebd9511' }, // u32 to struct class_scratch
  classServices: { name: 'class_services', keyBytes: 4, valueBytes: 16, layout: 'c0cd0d75' }, // u32 to struct class_service
  counters: { name: 'counters', keyBytes: 4, valueBytes: 512, layout: 'cb6eacb5' }, // u32 to struct counts
  devices: { name: 'devices', keyBytes: 4, valueBytes: 8, layout: '4137c39e' }, // u32 to struct device
  embryos4: { name: 'embryos4', keyBytes: 4, valueBytes: 64, layout: 'beeb1a90' }, // u32 to struct route_bucket
  embryos6: { name: 'embryos6', keyBytes: 4, valueBytes: 128, layout: 'b92fb6f8' }, // u32 to struct route_bucket6
  hostTraffic: { name: 'host_traffic', keyBytes: 4, valueBytes: 16, layout: 'c91c38db' }, // u32 to struct traffic
  hosts: { name: 'hosts', keyBytes: 4, valueBytes: 32, layout: '6c6c8c38' }, // u32 to struct host
  icmpBuckets: { name: 'icmp_buckets', keyBytes: 4, valueBytes: 16, layout: '720c2bc6' }, // u32 to struct icmp_bucket
  icmpWorks: { name: 'icmp_works', keyBytes: 4, valueBytes: 76, layout: '58bca7e6' }, // u32 to struct icmp_work
  knownHops: { name: 'known_hops', keyBytes: 4, valueBytes: 40, layout: 'a884e965' }, // u32 to struct known_hop
  learnMessages: { name: 'learn_messages', keyBytes: 4, valueBytes: 88, layout: 'c80f3db9' }, // u32 to struct learn_message
  learnTunnels: { name: 'learn_tunnels', keyBytes: 4, valueBytes: 152, layout: 'a3911872' }, // u32 to struct learn_tunnel
  learnt: { name: 'learnt', keyBytes: 8, valueBytes: 32, layout: '73a24ab3' }, // struct learnt_key to struct learnt
  mappingEvents: { name: 'mapping_events', keyBytes: 0, valueBytes: 0, layout: 'e2ee3530' }, // none to none
  mappings4: { name: 'mappings4', keyBytes: 4, valueBytes: 64, layout: 'beeb1a90' }, // u32 to struct route_bucket
  mappings6: { name: 'mappings6', keyBytes: 4, valueBytes: 128, layout: 'b92fb6f8' }, // u32 to struct route_bucket6
  routes4: { name: 'routes4', keyBytes: 4, valueBytes: 64, layout: 'beeb1a90' }, // u32 to struct route_bucket
  routes6: { name: 'routes6', keyBytes: 4, valueBytes: 128, layout: 'b92fb6f8' }, // u32 to struct route_bucket6
  serviceTraffic: { name: 'service_traffic', keyBytes: 4, valueBytes: 16, layout: 'c91c38db' }, // u32 to struct traffic
  services: { name: 'services', keyBytes: 4, valueBytes: 256, layout: '6f449dbc' }, // u32 to struct service_bucket
  targets: { name: 'targets', keyBytes: 4, valueBytes: 64, layout: 'ae84fd33' }, // u32 to struct target
  tunnels: { name: 'tunnels', keyBytes: 4, valueBytes: 64, layout: 'c0388281' }, // u32 to struct tunnel_slot
  vips: { name: 'vips', keyBytes: 16, valueBytes: 4, layout: 'ab828d28' }, // union address to u32
} as const

/** Global variables; `section` is the map they lie in. */
export const EDGE_GLOBALS = {
  config: { section: 'bss', offset: 0, bytes: 64 }, // struct edge_config
  classConfig: { section: 'bss', offset: 64, bytes: 152 }, // struct class_config
  learning: { section: 'bss', offset: 216, bytes: 64 }, // struct learn_config
  coarseTime: { section: 'bss', offset: 320, bytes: 16 }, // struct coarse_time
  stackMark: { section: 'bss', offset: 344, bytes: 8 }, // struct stack_mark
  capture: { section: 'bss', offset: 368, bytes: 88 }, // struct capture_config
  tickShift: { section: 'rodata', offset: 0, bytes: 4 }, // u32
  routes4Buckets: { section: 'rodata', offset: 4, bytes: 4 }, // u32
  routes6Buckets: { section: 'rodata', offset: 8, bytes: 4 }, // u32
  routes4Secret: { section: 'rodata', offset: 16, bytes: 64 }, // struct route_secret
  routes6Secret: { section: 'rodata', offset: 80, bytes: 64 }, // struct route_secret
  embryos4Buckets: { section: 'rodata', offset: 144, bytes: 4 }, // u32
  embryos6Buckets: { section: 'rodata', offset: 148, bytes: 4 }, // u32
  mappings4Buckets: { section: 'rodata', offset: 152, bytes: 4 }, // u32
  mappings6Buckets: { section: 'rodata', offset: 156, bytes: 4 }, // u32
  mappings4Secret: { section: 'rodata', offset: 160, bytes: 64 }, // struct route_secret
  mappings6Secret: { section: 'rodata', offset: 224, bytes: 64 }, // struct route_secret
} as const
