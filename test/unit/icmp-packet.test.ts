/** The codec of ICMP errors (RFC 792, 4443, 4884): what is read, what is refused, and that both rewrites are one another's inverse. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import {
  buildError,
  isSingle,
  makeEchoReply,
  timeExceeded,
  tooBig,
} from '../../src/agent/dataplane/icmp-build.ts'
import {
  createIcmpView,
  ICMP_KIND,
  type IcmpView,
  innerPorts,
  isIcmp,
  mirrored,
  parseIcmp,
} from '../../src/agent/dataplane/icmp-packet.ts'
import { rewriteIcmp, subtractOverhead } from '../../src/agent/dataplane/icmp-rewrite.ts'
import { createPacketView, type PacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import {
  buildIcmp,
  endsOf,
  type Family,
  type IcmpOptions,
  icmpAt,
  icmpFaults,
  quotedOf,
} from '../support/icmp.ts'
import {
  addressWords,
  buildIp6,
  buildTcp4,
  buildTcp6,
  buildUdp4,
  buildUdp6,
  checksumFaults,
  embed,
  hex,
  join,
  type PacketOptions,
  pattern,
} from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'

const it = suite('ICMP messages')
const FAMILIES: readonly Family[] = [4, 6]

const ROUTER = { 4: '192.0.2.254', 6: '2001:db8::fe' } as const
const CLIENT = { 4: '203.0.113.7', 6: '2001:db8:7::7' } as const
const VIP = { 4: '198.51.100.80', 6: '2001:db8:80::80' } as const
const TUNNEL = { 4: '10.10.1.11', 6: 'fd00::11' } as const
const HOST = { 4: '10.10.0.71', 6: 'fd00::71' } as const
const IDENTIFIER = 0x01abcdef

const toClient = (
  family: Family,
  protocol: 6 | 17 = 6,
  more: PacketOptions & { noChecksum?: boolean } = {},
): Uint8Array => {
  const options = {
    ...{ source: VIP[family], destination: CLIENT[family], sourcePort: 443, destinationPort: 51_000 },
    ...{ payload: pattern(1000), dontFragment: true, ...more },
  }
  const build = { 4: { 6: buildTcp4, 17: buildUdp4 }, 6: { 6: buildTcp6, 17: buildUdp6 } }
  return build[family][protocol](options)
}

const TYPE = { 4: 3, 6: 2 } as const
const CODE = { 4: 4, 6: 0 } as const
const tooBigAbout = (family: Family, body: Uint8Array, more: Partial<IcmpOptions> = {}): Uint8Array =>
  buildIcmp(family, {
    ...{
      source: ROUTER[family],
      destination: VIP[family],
      type: TYPE[family],
      code: CODE[family],
      word: 1280,
    },
    ...{ body, ...more },
  })

interface Read {
  reason: number
  view: PacketView
  icmp: IcmpView
}
const read = (bytes: Uint8Array, offset = 0, length = bytes.length): Read => {
  const view = createPacketView()
  const icmp = createIcmpView()
  const reason = parsePacket(bytes, offset, length, view)
  if (reason !== DROP.UNSUPPORTED_PROTOCOL || !isIcmp(view)) return { reason, view, icmp }
  return { reason: parseIcmp(bytes, offset, view, icmp), view, icmp }
}

const words = (family: Family, who: Record<Family, string>): Uint32Array => addressWords(who[family])

const tunnelled = (bytes: Uint8Array, family: Family, offset = 0, length = bytes.length): void => {
  const { reason, view, icmp } = read(bytes, offset, length)
  assert.is(reason, DROP.NONE)
  const tunnel = words(family, TUNNEL)
  rewriteIcmp(bytes, offset, view, icmp, {
    ...{ source: tunnel, sourceAt: 0, sender: words(family, HOST), senderAt: 0 },
    ...{ receiver: tunnel, receiverAt: 0, ports: mirrored(IDENTIFIER) },
  })
}
const restored = (bytes: Uint8Array, family: Family): void => {
  const { reason, view, icmp } = read(bytes)
  assert.is(reason, DROP.NONE)
  rewriteIcmp(bytes, 0, view, icmp, {
    ...{ source: words(family, ROUTER), sourceAt: 0, sender: words(family, VIP), senderAt: 0 },
    ...{ receiver: words(family, CLIENT), receiverAt: 0, ports: ((443 << 16) | 51_000) >>> 0 },
  })
}

it('golden bytes of IPv4: fragmentation needed about TCP, of 8 bytes of its header', () => {
  const bytes = hex(`
    45 00 00 38 00 01 00 00 40 01 8d 42 c0 00 02 fe c6 33 64 50
    03 04 2e de 00 00 05 00
    45 00 05 dc 12 34 40 00 3f 06 bd 5c c6 33 64 50 cb 00 71 07
    01 bb c7 38 00 00 00 2a`)
  const { reason, icmp, view } = read(bytes)
  assert.is(reason, DROP.NONE)
  assert.is(view.l4, 20)
  assert.equal(icmp, {
    ...{ kind: ICMP_KIND.TOO_BIG, type: 3, code: 4, at: 20 },
    ...{ inner: 28, innerEnd: 56, innerL4: 48, innerProtocol: 6, innerCheck: 0 },
  })
  assert.is(innerPorts(bytes, icmp), ((443 << 16) | 51_000) >>> 0)
  tunnelled(bytes, 4)
  assert.equal(icmpFaults(bytes), [])
  assert.equal(
    [...bytes.slice(12, 20), ...bytes.slice(40, 52)],
    [10, 10, 1, 11, 10, 10, 0, 71, 10, 10, 0, 71, 10, 10, 1, 11, 0xcd, 0xef, 0x01, 0xab],
  )
})

it('golden bytes of IPv6: packet too big about UDP', () => {
  const quoted = toClient(6, 17, { payload: pattern(8) })
  const bytes = tooBigAbout(6, quoted)
  assert.equal([...bytes.slice(40, 42), ...bytes.slice(44, 48)], [2, 0, 0, 0, 5, 0])
  const { icmp } = read(bytes)
  assert.equal(icmp, {
    ...{ kind: ICMP_KIND.TOO_BIG, type: 2, code: 0, at: 40 },
    ...{ inner: 48, innerEnd: 104, innerL4: 88, innerProtocol: 17, innerCheck: 94 },
  })
  tunnelled(bytes, 6)
  const inside = quotedOf(bytes)
  assert.equal(icmpFaults(bytes), [])
  assert.equal(checksumFaults(inside), [])
  assert.equal(endsOf(inside), {
    source: 'fd00:0:0:0:0:0:0:71',
    destination: 'fd00:0:0:0:0:0:0:11',
    ports: [0xcdef, 0x01ab],
  })
})

it('kinds by type and code', () => {
  const kindOf = (family: Family, type: number, code = 0): number => {
    const options = { source: ROUTER[family], destination: VIP[family], type, code, body: toClient(family) }
    const { reason, icmp } = read(buildIcmp(family, options))
    return reason === DROP.NONE ? icmp.kind : -reason
  }
  const { ECHO, ERROR, TOO_BIG, UNREACHABLE } = ICMP_KIND
  for (let code = 0; code < 16; code++) assert.is(kindOf(4, 3, code), code === 4 ? TOO_BIG : UNREACHABLE)
  for (let type = 0; type < 256; type++) {
    if (type !== 3)
      assert.is(kindOf(4, type), { 8: ECHO, 11: ERROR, 12: ERROR }[type] ?? -DROP.ICMP_TYPE, `type ${type}`)
    const six = { 1: UNREACHABLE, 2: TOO_BIG, 3: ERROR, 4: ERROR, 128: ECHO }[type]
    assert.is(kindOf(6, type), six ?? -DROP.ICMP_TYPE, `ICMPv6 type ${type}`)
  }
})

it('an error cut off before the ports of its packet is refused, at each length; nothing past its end is read', () => {
  for (const family of FAMILIES)
    for (const protocol of [6, 17] as const) {
      const quoted = toClient(family, protocol)
      const header = family === 4 ? 20 : 40
      for (let length = 0; length < header + 24; length++) {
        const bytes = tooBigAbout(family, quoted.slice(0, length))
        const { reason, icmp } = read(embed(bytes, 64), 64, bytes.length)
        assert.is(
          reason,
          length < header + 8 ? DROP.ICMP_EMBEDDED : DROP.NONE,
          `${family} ${protocol} ${length}`,
        )
        if (reason !== DROP.NONE) continue
        assert.is(icmp.innerCheck !== 0, length >= header + (protocol === 6 ? 18 : 8))
        assert.is(icmp.innerEnd, 64 + bytes.length)
      }
      for (let length = 0; length < 8; length++) {
        const whole = tooBigAbout(family, quoted)
        const at = icmpAt(whole)
        const cut = family === 4 ? whole.slice(0, at + length) : buildIp6(58, whole.slice(at, at + length))
        if (family === 4) new DataView(cut.buffer).setUint16(2, cut.length)
        if (family === 4) fixHeader(cut)
        assert.is(read(cut).reason, DROP.TRUNCATED)
      }
    }
})

/** Of an IPv4 packet that was changed. */
const fixHeader = (bytes: Uint8Array): void => {
  bytes.set([0, 0], 10)
  let sum = 0
  for (let i = 0; i < (bytes[0]! & 15) * 4; i += 2) sum += bytes[i]! * 256 + bytes[i + 1]!
  sum = (sum & 0xffff) + (sum >>> 16)
  new DataView(bytes.buffer).setUint16(10, 0xffff - sum)
}

it('hostile errors are refused', () => {
  for (const family of FAMILIES) {
    const refused = (reason: number, body: Uint8Array, more: Partial<IcmpOptions> = {}): void =>
      assert.is(read(tooBigAbout(family, body, more)).reason, reason)
    const quoted = toClient(family)
    // About an ICMP error, or an echo (RFC 1122, section 3.2.2).
    refused(DROP.ICMP_EMBEDDED, tooBigAbout(family, quoted))
    refused(
      DROP.ICMP_EMBEDDED,
      buildIcmp(family, { source: VIP[family], destination: CLIENT[family], type: 8, body: pattern(64) }),
    )
    // Of the other family, or of none.
    refused(DROP.ICMP_EMBEDDED, toClient(family === 4 ? 6 : 4))
    refused(DROP.ICMP_EMBEDDED, join(Uint8Array.of(0x05), quoted.slice(1)))
    refused(DROP.ICMP_CHECKSUM, quoted, { wrongChecksum: true })
    // A length of what is inside (RFC 4884) that lies.
    const units = family === 4 ? 4 : 8
    const unreachable = { type: family === 4 ? 3 : 1, code: 1 }
    const lying = (length: number): Partial<IcmpOptions> => ({
      ...unreachable,
      word: family === 4 ? length << 16 : (length << 24) >>> 0,
    })
    refused(DROP.ICMP_EMBEDDED, quoted.slice(0, 128), lying(128 / units + 1))
    refused(DROP.ICMP_EMBEDDED, quoted.slice(0, 128), lying(255))
    refused(DROP.ICMP_EMBEDDED, quoted.slice(0, 128), lying(1))
    refused(DROP.NONE, quoted.slice(0, 128), lying(128 / units))
  }
  const later = toClient(4)
  later[7] = 1
  assert.is(read(tooBigAbout(4, later)).reason, DROP.ICMP_EMBEDDED)
  for (const ihl of [0, 4, 15]) {
    const odd = toClient(4).slice(0, 60)
    odd[0] = 0x40 | ihl
    assert.is(read(tooBigAbout(4, odd)).reason, DROP.ICMP_EMBEDDED, `header length ${ihl}`)
  }
  const options = (types: number[]): Uint8Array =>
    toClient(6, 6, { extensionHeaders: types.map(type => ({ type, body: new Uint8Array(6) })) })
  assert.is(read(tooBigAbout(6, options([0, 60]))).reason, DROP.NONE)
  assert.is(read(tooBigAbout(6, options([43]))).reason, DROP.ICMP_EMBEDDED)
  assert.is(read(tooBigAbout(6, options(new Array(9).fill(60)))).reason, DROP.ICMP_EMBEDDED)
  assert.is(read(tooBigAbout(6, options([60]).slice(0, 44))).reason, DROP.ICMP_EMBEDDED)
  const endless = options([60])
  endless[41] = 255
  assert.is(read(tooBigAbout(6, endless)).reason, DROP.ICMP_EMBEDDED)
  const fragment = (offset: number): Uint8Array =>
    toClient(6, 17, { fragmentHeader: true, fragmentOffset: offset })
  assert.is(read(tooBigAbout(6, fragment(0))).reason, DROP.NONE)
  assert.is(read(tooBigAbout(6, fragment(64))).reason, DROP.ICMP_EMBEDDED)
})

it('lengths that the packet inside says of itself do not matter', () => {
  for (const total of [0, 20, 65_535]) {
    const quoted = toClient(4)
    new DataView(quoted.buffer).setUint16(2, total)
    assert.is(read(tooBigAbout(4, quoted)).reason, DROP.NONE)
  }
})

/** `count` times with each seed. */
const each = (count: number, body: (next: () => number) => void): void => {
  for (const seed of runSeeds()) {
    const next = seeded(seed)
    for (let i = 0; i < count; i++) body(next)
  }
}

const oneError = (next: () => number): { family: Family; bytes: Uint8Array; quoted: Uint8Array } => {
  const below = integers(next)
  const family: Family = below(2) === 0 ? 4 : 6
  const protocol = below(2) === 0 ? 6 : 17
  const quoted = toClient(family, protocol, {
    payload: pattern(below(1200), below(256)),
    noChecksum: below(4) === 0,
    ttl: below(256),
    ...(family === 4 && below(3) === 0 ? { ipOptions: pattern(4 * below(10), below(256)) } : {}),
    ...(family === 6 && below(3) === 0
      ? { extensionHeaders: [{ type: 60, body: pattern(6, below(256)) }] }
      : {}),
    ...{ fragmentHeader: family === 6 && below(4) === 0 },
  })
  // The host may have sent it with unfinished checksums, or the way may have damaged them.
  if (below(3) === 0) {
    const view = new DataView(quoted.buffer)
    const { at } = checkOf(quoted)
    view.setUint16(at, below(0xffff))
    if (family === 4) view.setUint16(10, below(0xffff))
  }
  const least = checkOf(quoted).l4 + 8
  const length = Math.min(quoted.length, least + below(600))
  const body = quoted.slice(0, length)
  const extended = below(3) === 0 && length >= 128
  if (!extended) return { family, quoted: body, bytes: tooBigAbout(family, body) }
  // RFC 4884: padded, then objects, which must come through.
  const units = family === 4 ? 4 : 8
  const padded = join(body, new Uint8Array((units - (length % units)) % units))
  const word = padded.length / units
  const whole = join(padded, pattern(20, below(256)))
  const type = family === 4 ? 11 : 3
  if (word > 255) return { family, quoted: body, bytes: tooBigAbout(family, body) }
  return {
    family,
    quoted: whole,
    bytes: tooBigAbout(family, whole, {
      type,
      code: 0,
      word: family === 4 ? word << 16 : (word << 24) >>> 0,
    }),
  }
}

const checkOf = (quoted: Uint8Array): { l4: number; at: number; udp: boolean } => {
  let next = quoted[0]! >>> 4 === 4 ? quoted[9]! : quoted[6]!
  let l4 = quoted[0]! >>> 4 === 4 ? (quoted[0]! & 15) * 4 : 40
  while (next === 60 || next === 44) {
    const from = l4
    l4 += next === 44 ? 8 : (quoted[from + 1]! + 1) * 8
    next = quoted[from]!
  }
  return { l4, at: l4 + (next === 17 ? 6 : 16), udp: next === 17 }
}

it('what a forwarder makes of an error, its host undoes: the packet inside is the same, bit for bit', () => {
  each(1000, next => {
    const { family, bytes, quoted } = oneError(next)
    const before = bytes.slice()
    tunnelled(bytes, family)
    assert.equal(icmpFaults(bytes), [], 'in the tunnel')
    assert.is(bytes.length, before.length)
    const inside = endsOf(quotedOf(bytes))
    assert.equal([endsOf(bytes).destination, inside.source], Array(2).fill(endsOf(bytes).destination))
    restored(bytes, family)
    assert.equal(icmpFaults(bytes), [], 'restored')
    assert.equal(quotedOf(bytes), quoted)
    assert.equal(bytes, before)
  })
})

it('a UDP checksum inside never becomes 0, which would say that there is none, and comes back as it was', () => {
  const bytes = tooBigAbout(4, toClient(4, 17, { payload: pattern(8) }))
  const { view, icmp } = read(bytes)
  const tunnel = words(4, TUNNEL)
  const there = { source: tunnel, sourceAt: 0, sender: words(4, HOST), senderAt: 0 }
  const back = { source: tunnel, sourceAt: 0, sender: words(4, VIP), senderAt: 0 }
  const ports = ((443 << 16) | 51_000) >>> 0
  for (let check = 1; check <= 0xffff; check++) {
    bytes[icmp.innerCheck] = check >>> 8
    bytes[icmp.innerCheck + 1] = check & 0xff
    rewriteIcmp(bytes, 0, view, icmp, {
      ...there,
      receiver: tunnel,
      receiverAt: 0,
      ports: mirrored(IDENTIFIER),
    })
    if ((bytes[icmp.innerCheck]! | bytes[icmp.innerCheck + 1]!) === 0) assert.unreachable(`${check} became 0`)
    rewriteIcmp(bytes, 0, view, icmp, { ...back, receiver: words(4, CLIENT), receiverAt: 0, ports })
    assert.is((bytes[icmp.innerCheck]! << 8) | bytes[icmp.innerCheck + 1]!, check)
  }
})

it('right checksums of the packet inside stay right', () => {
  each(200, next => {
    const below = integers(next)
    const family: Family = below(2) === 0 ? 4 : 6
    const quoted = toClient(family, below(2) === 0 ? 6 : 17, { payload: pattern(below(300), below(256)) })
    const bytes = tooBigAbout(family, quoted)
    tunnelled(bytes, family)
    assert.equal(checksumFaults(quotedOf(bytes)), [])
  })
})

it('nothing outside the packet is changed, and not more of it than addresses, ports and checksums', () => {
  for (const family of FAMILIES) {
    const bytes = tooBigAbout(family, toClient(family), { padding: 9 })
    const around = embed(bytes, 32)
    tunnelled(around, family, 32, bytes.length)
    const untouched = embed(bytes, 32)
    const changed = [...around].flatMap((byte, i) => (byte === untouched[i] ? [] : [i - 32]))
    const at = icmpAt(bytes)
    const inner = at + 8
    const addresses = family === 4 ? [10, 20] : [8, 40]
    const l4 = inner + (family === 4 ? 20 : 40)
    const may = [
      addresses,
      [at + 2, at + 4],
      addresses.map(one => one + inner),
      [l4, l4 + 4],
      [l4 + 16, l4 + 18],
    ]
    for (const place of changed)
      assert.ok(
        may.some(([from, to]) => place >= from! && place < to!),
        `IPv${family}: byte ${place}`,
      )
  }
})

it('the bytes of an encapsulation are taken off the MTU that an error tells', () => {
  for (const family of FAMILIES) {
    const bytes = tooBigAbout(family, toClient(family), { word: 1400 })
    const { icmp } = read(bytes)
    assert.is(subtractOverhead(bytes, icmp, family, 28), 1372)
    assert.equal(icmpFaults(bytes), [])
    assert.is(new DataView(bytes.buffer).getUint16(icmpAt(bytes) + 6), 1372)
  }
  // A router that says no MTU (before RFC 1191), and one that says nonsense.
  for (const [word, expected] of [
    [0, 0],
    [20, 0],
  ] as const) {
    const bytes = tooBigAbout(4, toClient(4), { word })
    assert.is(subtractOverhead(bytes, read(bytes).icmp, 4, 28), expected)
    assert.equal(icmpFaults(bytes), [])
  }
})

it('errors that a forwarder tells itself are whole, and as large as they may be', () => {
  for (const family of FAMILIES)
    for (const size of [0, 100, 3000]) {
      const packet = (family === 4 ? buildTcp4 : buildTcp6)({
        source: CLIENT[family],
        destination: VIP[family],
        payload: pattern(size),
        dontFragment: true,
      })
      for (const error of [tooBig(family, 1400), timeExceeded(family)]) {
        const out = new Uint8Array(1280).fill(0xa5)
        const around = embed(packet, 16)
        const length = buildError(out, error, words(family, VIP), around, 16, packet.length, family)
        const bytes = out.slice(0, length)
        assert.equal(icmpFaults(bytes), [])
        const { reason, icmp } = read(bytes)
        assert.is(reason, DROP.NONE)
        assert.is(icmp.kind, error === undefined || error.word === 0 ? ICMP_KIND.ERROR : ICMP_KIND.TOO_BIG)
        assert.is(length, Math.min(family === 4 ? 576 : 1280, packet.length + (family === 4 ? 28 : 48)))
        assert.equal(quotedOf(bytes), packet.slice(0, length - (family === 4 ? 28 : 48)))
        assert.is(endsOf(bytes).destination, endsOf(packet).source)
        assert.is(endsOf(bytes).source, endsOf(packet).destination)
        if (error.word !== 0) assert.is(new DataView(bytes.buffer).getUint16(icmpAt(bytes) + 6), 1400)
      }
    }
})

it('the reply to an echo is what it should be', () => {
  for (const family of FAMILIES)
    for (const size of [0, 1, 56, 1400]) {
      const echo = {
        source: CLIENT[family],
        destination: VIP[family],
        word: 0x12345678,
        body: pattern(size),
        ttl: 3,
      }
      const options = family === 4 && size === 56 ? { ipOptions: pattern(8) } : {}
      const bytes = buildIcmp(family, { ...echo, ...options, type: family === 4 ? 8 : 128 })
      const { view, icmp } = read(bytes)
      makeEchoReply(bytes, 0, view, icmp)
      assert.equal(
        bytes,
        buildIcmp(family, {
          ...{ ...echo, ...options, source: VIP[family], destination: CLIENT[family] },
          ...{ type: family === 4 ? 0 : 129, ttl: 64 },
        }),
      )
    }
})

it('answers go to single machines only', () => {
  const single = (text: string): boolean => isSingle(addressWords(text), 0)
  for (const text of [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '224.0.0.1',
    '239.1.2.3',
    '255.255.255.255',
    '240.0.0.1',
  ])
    assert.not(single(text), text)
  for (const text of ['::', '::1', '::2', 'ff02::1', 'ff0e::1', 'fe80::1', 'febf::1'])
    assert.not(single(text), text)
  for (const text of ['1.1.1.1', '10.0.0.1', '223.255.255.255', '2001:db8::1', 'fd00::1', 'fec0::1'])
    assert.ok(single(text), text)
})

it.run()
