/** Hostile packets at the virtual IP while good requests go on, of which none may fail (R-A3, decisions 3 and 4). */
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import type { FlowsData } from '../../src/control/types.ts'
import { fixIpChecksum } from '../support/hostile.ts'
import { DNS, download, HostileLab, VIP, WEB } from '../support/hostile-lab.ts'
import { buildIp4, buildTcp4, buildUdp4, FLAG, pattern, type TcpOptions } from '../support/packets.ts'
import { integers, seeded } from '../support/random.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { Tap } from '../support/tap.ts'

const it = suite('hostile packets')
let at: HostileLab

const LIMITS = { flows: 8192, embryonicFlows: 2048, mappings: 8192, heldPackets: 1024 }
const below = integers(seeded(20))
/** The second client's address: attacks come from there, unless forged. */
const ATTACKER = '10.20.0.12'

it.before(async () => {
  if (missingRoot() !== undefined) return
  at = await HostileLab.up({
    configure: config => {
      config.limits = LIMITS
      config.timeouts = { embryonic: 3000, linger: 1000, routeLease: 4000, tcpIdle: 8000, udpIdle: 5000 }
    },
  })
})
it.after(() => at?.down())

const test = (name: string, body: () => Promise<void>): void =>
  testIf(missingRoot(), it, name, async () => {
    await body()
    await at.unharmed()
  })

let port = 20_000
const tcp = (options: TcpOptions = {}): Uint8Array =>
  buildTcp4({
    source: ATTACKER,
    destination: VIP,
    sourcePort: port++,
    destinationPort: WEB,
    flags: FLAG.SYN,
    sequence: below(2 ** 32),
    ...options,
  })
const udp = (options: Parameters<typeof buildUdp4>[0] = {}): Uint8Array =>
  buildUdp4({
    source: ATTACKER,
    destination: VIP,
    sourcePort: port++,
    destinationPort: DNS,
    payload: Buffer.from('evil'),
    ...options,
  })

/** Bytes of a packet changed, and its header checksum right again. */
const changed = (packet: Uint8Array, bytes: Record<number, number>, checksum = true): Uint8Array => {
  for (const [offset, value] of Object.entries(bytes)) packet[Number(offset)] = value
  if (checksum) fixIpChecksum(packet)
  return packet
}
const lengthen = (packet: Uint8Array, totalLength: number): Uint8Array =>
  changed(packet, { 2: totalLength >> 8, 3: totalLength & 255 })
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** Sends each packet to each forwarder; each must be counted there under the reason, and go nowhere. */
const refused = async (reason: number, packets: Uint8Array[]): Promise<void> => {
  for (const node of ['f1', 'f2'])
    await at.dropped(node, { [reason]: packets.length }, () => {
      for (const packet of packets) at.toNode(node, packet)
    })
}

test('IPv4 headers that lie about lengths and versions, or are damaged', async () => {
  await refused(
    DROP.BAD_HEADER_LENGTH,
    range(0, 4).map(ihl => changed(tcp(), { 0: 0x40 | ihl }, false)),
  )
  await refused(
    DROP.BAD_TOTAL_LENGTH,
    [...range(0, 19), 0x18].map(length =>
      length === 0x18 ? changed(tcp(), { 0: 0x4f }, false) : lengthen(tcp(), length),
    ),
  )
  await refused(
    DROP.TRUNCATED,
    [41, 60, 1500, 65_535].map(length => lengthen(tcp(), length)),
  )
  await refused(
    DROP.TRUNCATED,
    range(20, 39).map(length => tcp().slice(0, length)),
  )
  await refused(
    DROP.BAD_VERSION,
    [0, 1, 5, 7, 15].map(version => changed(tcp(), { 0: (version << 4) | 5 })),
  )
  await refused(
    DROP.BAD_CHECKSUM,
    [1, 0x80, 0xff].map(bits => {
      const p = tcp()
      p[10]! ^= bits
      return p
    }),
  )
  await refused(
    DROP.TTL_EXPIRED,
    [0, 1].map(ttl => tcp({ ttl })),
  )
})

test('fragments: first, middle, last, tiny, overlapping', async () => {
  const more = { moreFragments: true }
  await refused(DROP.FRAGMENT, [
    tcp({ ...more, payload: pattern(64) }),
    ...[8, 16, 24, 1480, 65_528].map(fragmentOffset =>
      tcp({ ...more, fragmentOffset, payload: pattern(40) }),
    ),
    ...[8, 16, 24].map(fragmentOffset => tcp({ fragmentOffset, payload: pattern(40) })),
    buildIp4(6, tcp().slice(20, 28), { source: ATTACKER, destination: VIP, ...more }),
    udp(more),
    udp({ fragmentOffset: 8 }),
  ])
})

test('TCP and UDP headers that are cut or lie about lengths', async () => {
  const cut = (packet: Uint8Array, l4: number): Uint8Array => lengthen(packet.slice(0, 20 + l4), 20 + l4)
  await refused(
    DROP.TRUNCATED,
    range(0, 19).map(bytes => cut(tcp(), bytes)),
  )
  await refused(
    DROP.TRUNCATED,
    range(0, 7).map(bytes => cut(udp(), bytes)),
  )
  await refused(
    DROP.BAD_HEADER_LENGTH,
    [...range(0, 4), ...range(6, 15)].map(words => changed(tcp(), { 32: words << 4 })),
  )
  await refused(
    DROP.BAD_TOTAL_LENGTH,
    [0, 1, 7, 13, 100, 65_535].map(udpLength => udp({ udpLength })),
  )
})

test('other protocols and ports that are no service: no answer at all', async () => {
  const tap = await Tap.open(at.lab.netns('client2'), `src host ${VIP} or icmp`, { direction: 'in' })
  try {
    const addresses = { source: ATTACKER, destination: VIP }
    await refused(
      DROP.NOT_A_SERVICE,
      [1, 2, 4, 41, 47, 50, 89, 132, 255].map(protocol => buildIp4(protocol, tcp().slice(20), addresses)),
    )
    await refused(
      DROP.UNSUPPORTED_PROTOCOL,
      range(0, 3).map(length => buildIp4(47, pattern(length), addresses)),
    )
    await refused(
      DROP.NOT_A_SERVICE,
      range(0, 79).map(destinationPort => tcp({ destinationPort, flags: below(256) })),
    )
    await refused(
      DROP.NOT_A_SERVICE,
      range(54, 400).map(destinationPort => udp({ destinationPort })),
    )
    // One good answer, and it is the only thing that came.
    const got = await at.lab.exec('client2', ['curl', '-sS', '--local-port', '5555', `http://${VIP}/`])
    assert.match(got.stdout, /^h[12]\n$/, got.stderr)
    await tap.first('answer', packet => packet[23] === (5555 & 255))
    assert.equal(
      tap.packets.filter(packet => packet[9] !== 6 || ((packet[22]! << 8) | packet[23]!) !== 5555),
      [],
    )
  } finally {
    await tap.close()
  }
})

test('every combination of TCP flags, from every odd source, is survived', async () => {
  for (const flags of range(0, 255)) at.toRouter(tcp({ flags, payload: pattern(flags % 40) }))
  for (const sourcePort of [0, 1, WEB, 65_535]) at.toRouter(tcp({ sourcePort }))
  for (const source of [
    '0.0.0.0',
    '127.0.0.1',
    '255.255.255.255',
    '224.0.0.1',
    VIP,
    at.address('h1'),
    at.lab.place('f2').tunnel!,
  ])
    for (const node of ['f1', 'f2']) at.toNode(node, tcp({ source, sourcePort: WEB }))
  const options = [
    [1, 1, 1, 0],
    [131, 11, 4, 10, 10, 0, 71, 0, 0, 0, 0, 0],
    [7, 39, 4, 0],
    [68, 255, 5, 1],
    [255, 0, 0, 0],
  ]
  for (const ipOptions of options) at.toNode('f1', tcp({ ipOptions: Uint8Array.from(ipOptions) }))
})

/** Forged sources that lead nowhere. */
const anybody = (): string => `198.${18 + below(2)}.${below(256)}.${1 + below(254)}`

/** From the clients' side, at a pace that a JavaScript slow path is meant to bear. */
const flood = async (count: number, make: () => Uint8Array): Promise<void> => {
  for (let sent = 0; sent < count; sent += 200) {
    for (let i = 0; i < 200; i++) at.toRouter(make())
    await delay(15)
  }
}

const limitsHold = async (): Promise<Map<string, number>> => {
  const evicted = new Map<string, number>()
  for (const node of at.lab.nodes)
    for (const limit of (await at.status(node.name)).limits) {
      assert.ok(
        limit.used <= limit.capacity,
        `${node.name}: ${limit.used} ${limit.name} of ${limit.capacity}`,
      )
      evicted.set(limit.name, (evicted.get(limit.name) ?? 0) + limit.evicted)
    }
  return evicted
}

test('a SYN flood of 24,000 forged sources: tables keep their bounds, clients connect', async () => {
  const stop = new AbortController()
  const connects = (async () => {
    while (!stop.signal.aborted) {
      const got = await at.lab.exec('client2', ['curl', '-sS', '--max-time', '15', `http://${VIP}/`])
      assert.match(got.stdout, /^h[12]\n$/, got.stderr)
    }
  })()
  await flood(24_000, () => tcp({ source: anybody(), sourcePort: 1024 + below(60_000) }))
  stop.abort()
  await connects
  const evicted = await limitsHold()
  assert.ok(evicted.get('embryonic')! > 1000, `${evicted.get('embryonic')} embryonic flows were evicted`)
  assert.is(evicted.get('flows'), 0, 'no route was displaced')
})

test('floods of ACK, RST and FIN of unknown flows', async () => {
  for (const flags of [FLAG.ACK, FLAG.RST, FLAG.FIN | FLAG.ACK, FLAG.ACK | FLAG.PSH])
    await flood(3000, () =>
      tcp({ source: anybody(), sourcePort: 1024 + below(60_000), flags, payload: pattern(below(32)) }),
    )
  await limitsHold()
})

/** The flow of a client's port, at the forwarder that has it. */
const flowOf = async (clientPort: number): Promise<FlowsData['flows'][number] & { forwarder: string }> => {
  let found: (FlowsData['flows'][number] & { forwarder: string }) | undefined
  await at.until(`port ${clientPort} has a route in the kernel`, async () => {
    for (const { name } of at.lab.forwarders) {
      const { flows } = await at.lab.api<FlowsData>(name, `/v1/flows?client=10.20.0.11:${clientPort}`)
      if (flows[0]?.plumbed) found = { ...flows[0], forwarder: name }
    }
    return found !== undefined
  })
  return found!
}

/** Packets with the exact addresses and ports of a live flow, but not its sequence numbers. */
const forge = async (sourcePort: number, forMs: number): Promise<void> => {
  const kinds = [
    FLAG.RST,
    FLAG.RST | FLAG.ACK,
    FLAG.SYN,
    FLAG.FIN,
    FLAG.FIN | FLAG.ACK,
    FLAG.SYN | FLAG.FIN,
    FLAG.SYN | FLAG.RST,
    FLAG.SYN | FLAG.ACK,
    0,
    255,
  ]
  for (const endAt = performance.now() + forMs; performance.now() < endAt; await delay(20))
    for (const flags of kinds)
      at.toRouter(
        tcp({
          source: '10.20.0.11',
          sourcePort,
          flags,
          sequence: below(2 ** 32),
          acknowledgement: below(2 ** 32),
          payload: flags === 0 ? Buffer.from('evil') : undefined,
        }),
      )
}

test('forged RST, SYN and FIN of a live flow cut neither a download nor an upload', async () => {
  const file = at.lab.webFiles.find(f => f.path === '/10m')!
  const body = `${at.lab.files('f1').dir}/../files/10m`
  const running = Promise.all([
    download(at.lab, 'client1', '/10m', ['--local-port', '6001', '--limit-rate', '2500k']),
    at.lab.exec('client1', [
      'curl',
      '-sS',
      '--max-time',
      '60',
      '--local-port',
      '6002',
      '--limit-rate',
      '2500k',
      '-T',
      body,
      `http://${VIP}/upload/forged`,
    ]),
  ])
  const upload = await flowOf(6002)
  await Promise.all([forge(6001, 3000), forge(6002, 3000)])
  const [down, up] = await running
  assert.is(down.sha256, file.sha256, down.stderr)
  assert.is(up.code, 0, up.stderr)
  const sum = await at.lab.exec(upload.host, ['sha256sum', `${at.lab.files(upload.host).web}/uploads/forged`])
  assert.is(sum.stdout.split(' ')[0], file.sha256)
})

const IDLE = `
const socket = require('node:net').connect({ port: ${WEB}, host: '${VIP}', localPort: 6003 })
const ask = () => socket.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
socket.on('connect', ask).on('data', d => console.log(/\\r\\n\\r\\n(h\\d)/.exec(d)[1]))
socket.on('error', e => { console.log(e.code); process.exit(1) }).on('close', () => process.exit(1))
process.stdin.on('data', ask).on('end', () => process.exit(0))`

test('forged RST and FIN of an idle connection do not cut it, even after the linger', async () => {
  const child = at.lab.spawn('client1', [process.execPath, '-e', IDLE])
  const lines: string[] = []
  child.stdout!.on('data', chunk => lines.push(...String(chunk).trim().split('\n')))
  const answered = (count: number): Promise<void> => at.until(`${count} answers`, () => lines.length >= count)
  try {
    await answered(1)
    await forge(6003, 200)
    await at.until('the flow is forgotten', async () => {
      const all = await Promise.all(
        at.lab.forwarders.map(f => at.lab.api<FlowsData>(f.name, '/v1/flows?client=10.20.0.11:6003')),
      )
      return all.every(({ flows }) => flows.length === 0)
    })
    child.stdin!.write('again\n')
    await answered(2)
    assert.is(lines[1], lines[0])
  } finally {
    child.stdin!.end()
  }
})

it.run()
