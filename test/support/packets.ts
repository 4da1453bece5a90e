/**
 * Builds and checks IP packets for tests, by the RFCs and with no code of the data plane: the slow, obvious twin of
 * its codecs.
 */

/** TCP flag bits (RFC 9293). */
export const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 } as const

export interface PacketOptions {
  source?: string
  destination?: string
  sourcePort?: number
  destinationPort?: number
  payload?: Uint8Array
  ttl?: number
  trafficClass?: number
  /** IPv4 identification, or that of the IPv6 fragment header. */
  identification?: number
  dontFragment?: boolean
  moreFragments?: boolean
  /** In bytes, a multiple of 8; not 0: `payload` stands where the L4 header would. */
  fragmentOffset?: number
  /** IPv4 options, a multiple of 4 bytes. */
  ipOptions?: Uint8Array
  /** IPv6 extension headers in order: type and body after its first two bytes (6 bytes modulo 8). */
  extensionHeaders?: readonly { type: number; body: Uint8Array }[]
  /** Adds an IPv6 fragment header even for a whole packet. */
  fragmentHeader?: boolean
  /** The L4 field holds only the folded pseudo-header sum, as with virtio NEEDS_CSUM. */
  partialChecksum?: boolean
  /** Bytes after the IP packet, as Ethernet padding. */
  padding?: number
}

export interface TcpOptions extends PacketOptions {
  sequence?: number
  acknowledgement?: number
  flags?: number
  window?: number
  urgent?: number
  /** A multiple of 4 bytes. */
  tcpOptions?: Uint8Array
}

export interface UdpOptions extends PacketOptions {
  noChecksum?: boolean
  /** Overrides the UDP length field. */
  udpLength?: number
}

const EMPTY = new Uint8Array(0)

export const buildTcp4 = (options: TcpOptions = {}): Uint8Array => ip4(6, tcp(options), options)
export const buildTcp6 = (options: TcpOptions = {}): Uint8Array => ip6(6, tcp(options), options)
export const buildUdp4 = (options: UdpOptions = {}): Uint8Array => ip4(17, udp(options), options)
export const buildUdp6 = (options: UdpOptions = {}): Uint8Array => ip6(17, udp(options), options)

/** An IPv4 or IPv6 packet of any protocol, its L4 bytes as they are. */
export const buildIp4 = (protocol: number, l4: Uint8Array, options: PacketOptions = {}): Uint8Array =>
  ip4(protocol, l4, options, false)
export const buildIp6 = (protocol: number, l4: Uint8Array, options: PacketOptions = {}): Uint8Array =>
  ip6(protocol, l4, options, false)

function tcp(o: TcpOptions): Uint8Array {
  const options = o.tcpOptions ?? EMPTY
  const head = new Uint8Array(20 + options.length)
  const view = new DataView(head.buffer)
  view.setUint16(0, o.sourcePort ?? 40000)
  view.setUint16(2, o.destinationPort ?? 80)
  view.setUint32(4, o.sequence ?? 0)
  view.setUint32(8, o.acknowledgement ?? 0)
  head[12] = (head.length / 4) << 4
  head[13] = o.flags ?? FLAG.ACK
  view.setUint16(14, o.window ?? 65535)
  view.setUint16(18, o.urgent ?? 0)
  head.set(options, 20)
  return join(head, o.payload ?? EMPTY)
}

function udp(o: UdpOptions): Uint8Array {
  const payload = o.payload ?? EMPTY
  const head = new Uint8Array(8)
  const view = new DataView(head.buffer)
  view.setUint16(0, o.sourcePort ?? 40000)
  view.setUint16(2, o.destinationPort ?? 53)
  view.setUint16(4, o.udpLength ?? 8 + payload.length)
  return join(head, payload)
}

function ip4(
  protocol: number,
  l4: Uint8Array,
  o: PacketOptions & { noChecksum?: boolean },
  fill = true,
): Uint8Array {
  const source = addressBytes(o.source ?? '192.0.2.1')
  const destination = addressBytes(o.destination ?? '198.51.100.80')
  const ipOptions = o.ipOptions ?? EMPTY
  const later = (o.fragmentOffset ?? 0) > 0
  const body = later && fill ? (o.payload ?? EMPTY) : l4.slice()
  if (fill && !later) fillChecksum(source, destination, protocol, body, o)
  const head = new Uint8Array(20 + ipOptions.length)
  const view = new DataView(head.buffer)
  head[0] = 0x40 | (head.length / 4)
  head[1] = o.trafficClass ?? 0
  view.setUint16(2, head.length + body.length)
  view.setUint16(4, o.identification ?? 0x1234)
  const flags = ((o.dontFragment ?? false) ? 0x4000 : 0) | ((o.moreFragments ?? false) ? 0x2000 : 0)
  view.setUint16(6, flags | ((o.fragmentOffset ?? 0) / 8))
  head[8] = o.ttl ?? 64
  head[9] = protocol
  head.set(source, 12)
  head.set(destination, 16)
  head.set(ipOptions, 20)
  view.setUint16(10, 0xffff - onesSum(head))
  return join(head, body, new Uint8Array(o.padding ?? 0))
}

function ip6(
  protocol: number,
  l4: Uint8Array,
  o: PacketOptions & { noChecksum?: boolean },
  fill = true,
): Uint8Array {
  const source = addressBytes(o.source ?? '2001:db8::1')
  const destination = addressBytes(o.destination ?? '2001:db8:80::80')
  const later = (o.fragmentOffset ?? 0) > 0
  const body = later && fill ? (o.payload ?? EMPTY) : l4.slice()
  if (fill && !later) fillChecksum(source, destination, protocol, body, o)
  const extensions = [...(o.extensionHeaders ?? [])]
  if ((o.fragmentHeader ?? false) || later || (o.moreFragments ?? false)) {
    const fragment = new Uint8Array(6)
    const view = new DataView(fragment.buffer)
    view.setUint16(0, (o.fragmentOffset ?? 0) | ((o.moreFragments ?? false) ? 1 : 0))
    view.setUint32(2, o.identification ?? 0x12345678)
    extensions.push({ type: 44, body: fragment })
  }
  const chain = extensions.map((extension, i) => {
    const next = extensions[i + 1]?.type ?? protocol
    return join(
      Uint8Array.of(next, extension.type === 44 ? 0 : (extension.body.length + 2) / 8 - 1),
      extension.body,
    )
  })
  const head = new Uint8Array(40)
  const view = new DataView(head.buffer)
  view.setUint32(0, 0x60000000 | ((o.trafficClass ?? 0) << 20))
  view.setUint16(4, chain.reduce((sum, part) => sum + part.length, 0) + body.length)
  head[6] = extensions[0]?.type ?? protocol
  head[7] = o.ttl ?? 64
  head.set(source, 8)
  head.set(destination, 24)
  return join(head, ...chain, body, new Uint8Array(o.padding ?? 0))
}

function fillChecksum(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  body: Uint8Array,
  o: { partialChecksum?: boolean; noChecksum?: boolean },
): void {
  const at = protocol === 6 ? 16 : 6
  const pseudo = pseudoHeader(source, destination, protocol, protocol === 6 ? body.length : udpLength(body))
  let check = 0
  if (o.partialChecksum ?? false) check = onesSum(pseudo)
  else if (protocol === 17 && (o.noChecksum ?? false)) return
  else {
    check = 0xffff - onesSum(join(pseudo, protocol === 6 ? body : body.subarray(0, udpLength(body))))
    if (check === 0 && protocol === 17) check = 0xffff
  }
  body[at] = check >>> 8
  body[at + 1] = check & 0xff
}

const udpLength = (l4: Uint8Array): number => (l4[4] << 8) | l4[5]

function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  return join(source, destination, Uint8Array.of(0, protocol, length >>> 8, length & 0xff))
}

/** The ones-complement sum of bytes by its definition: a number modulo 65535, where only all-zero data give 0. */
export function onesSum(bytes: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i] * 256 : bytes[i]
  return sum === 0 ? 0 : sum % 65535 === 0 ? 65535 : sum % 65535
}

export interface Dissected {
  family: 4 | 6
  source: Uint8Array
  destination: Uint8Array
  protocol: number
  /** Bytes of the IP packet without padding. */
  packet: Uint8Array
  /** Its L4 part. */
  l4: Uint8Array
  payload: Uint8Array
}

/** Takes an unfragmented packet apart. */
export function dissect(bytes: Uint8Array): Dissected {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes[0] >>> 4 === 4) {
    const packet = bytes.subarray(0, view.getUint16(2))
    return finishDissection(
      4,
      packet,
      packet.subarray(12, 16),
      packet.subarray(16, 20),
      packet[9],
      (packet[0] & 15) * 4,
    )
  }
  const packet = bytes.subarray(0, 40 + view.getUint16(4))
  let next = packet[6]
  let at = 40
  while ([0, 43, 44, 60].includes(next)) {
    const length = next === 44 ? 8 : packet[at + 1] * 8 + 8
    next = packet[at]
    at += length
  }
  return finishDissection(6, packet, packet.subarray(8, 24), packet.subarray(24, 40), next, at)
}

function finishDissection(
  family: 4 | 6,
  packet: Uint8Array,
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  at: number,
): Dissected {
  const l4 = packet.subarray(at)
  const payload = protocol === 6 ? l4.subarray((l4[12] >>> 4) * 4) : l4.subarray(8, udpLength(l4))
  return { family, source, destination, protocol, packet, l4, payload }
}

/** What is wrong with the checksums of an unfragmented packet; empty = all right. */
export function checksumFaults(bytes: Uint8Array): string[] {
  const faults: string[] = []
  const d = dissect(bytes)
  if (d.family === 4 && onesSum(d.packet.subarray(0, (d.packet[0] & 15) * 4)) !== 0xffff)
    faults.push('IPv4 header')
  const covered = d.protocol === 17 ? d.l4.subarray(0, udpLength(d.l4)) : d.l4
  if (d.protocol === 17 && covered[6] === 0 && covered[7] === 0) return faults
  const pseudo = pseudoHeader(d.source, d.destination, d.protocol, covered.length)
  if (onesSum(join(pseudo, covered)) !== 0xffff) faults.push(d.protocol === 6 ? 'TCP' : 'UDP')
  return faults
}

/** What is wrong with a partial checksum (the folded sum of the pseudo-header); empty = all right. */
export function partialChecksumFaults(bytes: Uint8Array): string[] {
  const d = dissect(bytes)
  const length = d.protocol === 17 ? udpLength(d.l4) : d.l4.length
  const at = d.protocol === 6 ? 16 : 6
  const expected = onesSum(pseudoHeader(d.source, d.destination, d.protocol, length))
  const found = (d.l4[at] << 8) | d.l4[at + 1]
  return expected === found ? [] : [`partial checksum ${found}, not ${expected}`]
}

/** `192.0.2.1` or `2001:db8::1` (no dotted tail) as bytes. */
export function addressBytes(text: string): Uint8Array {
  if (!text.includes(':')) return Uint8Array.from(text.split('.'), Number)
  const [head, tail] = text.split('::')
  const groups = (part: string | undefined): number[] =>
    part === undefined || part === '' ? [] : part.split(':').map(group => Number.parseInt(group, 16))
  const before = groups(head)
  const after = groups(tail)
  const all =
    tail === undefined
      ? before
      : [...before, ...new Array(8 - before.length - after.length).fill(0), ...after]
  return Uint8Array.from(all.flatMap(group => [group >> 8, group & 0xff]))
}

/** An address as the four words of flow keys. */
export function addressWords(text: string): Uint32Array {
  const bytes = addressBytes(text)
  const full = bytes.length === 16 ? bytes : join(new Uint8Array(10), Uint8Array.of(0xff, 0xff), bytes)
  const view = new DataView(full.buffer)
  return Uint32Array.from([0, 4, 8, 12], at => view.getUint32(at))
}

/** A packet at an offset inside a larger buffer filled with `filler`, to show reads and writes outside. */
export function embed(bytes: Uint8Array, offset: number, filler = 0xa5): Uint8Array {
  const out = new Uint8Array(offset + bytes.length + offset).fill(filler)
  out.set(bytes, offset)
  return out
}

/** Bytes from hexadecimal text; white space is ignored. */
export const hex = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))

/** `length` bytes that differ from place to place. */
export const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >> 8)) & 0xff)

export function join(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
