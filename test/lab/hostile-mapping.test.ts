/** Hostile packets at the hosts' side and at the mapping port, from inside the rack (R-E8, decisions 2 and 3). */
// test-beside-others
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createMappingHeader, KIND, type MappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import type { FlowsData } from '../../src/control/types.ts'
import { isAlive } from '../../src/lab/processes.ts'
import { fixIpChecksum } from '../support/hostile.ts'
import { HostileLab, MAPPING_PORT, VIP } from '../support/hostile-lab.ts'
import { addressWords, buildIp4, buildTcp4, buildUdp4, FLAG, type TcpOptions } from '../support/packets.ts'
import { integers, seeded } from '../support/random.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { Tap } from '../support/tap.ts'

const it = suite('hostile mapping')
let at: HostileLab
const below = integers(seeded(30))
const random = (length: number): Uint8Array => Uint8Array.from({ length }, () => below(256))
const ROUTER = '10.10.0.1'

it.before(async () => {
  if (missingRoot() !== undefined) return
  at = await HostileLab.up({
    configure: config => {
      config.limits = { flows: 8192, embryonicFlows: 2048, mappings: 8192, heldPackets: 1024 }
      config.timeouts = { embryonic: 2000, linger: 1000, routeLease: 3000, tcpIdle: 20_000, udpIdle: 5000 }
    },
  })
})
it.after(() => at?.down())

const test = (name: string, body: () => Promise<void>): void =>
  testIf(missingRoot(), it, name, async () => {
    await body()
    await at.unharmed()
  })

const tunnelOf = (forwarder: string): string => at.lab.place(forwarder).tunnel!
/** As if a forwarder had tunnelled it: its source is a tunnel address, its ports are an identifier. */
const tunnelled = (host: string, identifier: number, options: TcpOptions = {}): TcpOptions => ({
  ...{ source: tunnelOf('f1'), destination: at.address(host), flags: FLAG.ACK, payload: Buffer.from('evil') },
  ...{ sourcePort: identifier >>> 16, destinationPort: identifier & 0xffff, sequence: below(2 ** 32) },
  ...options,
})

/** Echoes are the nodes' probes of each other. */
const ANSWERS = '(icmp and icmp[0] != 0 and icmp[0] != 8) or tcp[tcpflags] & tcp-rst != 0'

test('a host answers nothing to identifiers that nobody knows: no RST, no ICMP', async () => {
  const tap = await Tap.open(at.lab.netns('h1'), ANSWERS, { direction: 'out' })
  try {
    const flags = [
      FLAG.SYN,
      FLAG.ACK,
      FLAG.RST,
      FLAG.FIN | FLAG.ACK,
      FLAG.SYN | FLAG.ACK,
      FLAG.RST | FLAG.ACK,
      0,
      255,
    ]
    await at.dropped('h1', { [DROP.UNKNOWN_IDENTIFIER]: 8 * 20 + 8 + 3 }, () => {
      for (const [i, one] of flags.entries()) {
        // Distinct, and not of a host index that a forwarder gives to h1.
        for (let n = 0; n < 20; n++)
          at.toNode(
            'h1',
            buildTcp4(
              tunnelled('h1', 0x7f000000 + i * 65_536 + 7 * n + 1, {
                flags: one,
                source: tunnelOf(n % 2 ? 'f1' : 'f2'),
              }),
            ),
          )
        at.toNode('h1', buildTcp4(tunnelled('h1', i, { flags: one })))
      }
      for (const identifier of [0x7f100001, 0x0100ffff, 0xffffffff])
        at.toNode('h1', buildUdp4(tunnelled('h1', identifier)))
    })
    // The tap does see such answers where they are due: from closed ports of the host's own address.
    const closed = { source: ROUTER, destination: at.address('h1'), sourcePort: 999, destinationPort: 9 }
    at.toNode('h1', buildTcp4({ ...closed, flags: FLAG.SYN }))
    at.toNode('h1', buildUdp4(closed))
    await tap.first('RST of the closed port', packet => packet[9] === 6 && packet[21] === 9)
    await tap.first('ICMP of the closed port', packet => packet[9] === 1)
    assert.is(tap.packets.length, 2)
  } finally {
    await tap.close()
  }
})

test('tunnelled fragments, other protocols and damaged packets are counted, none answered', async () => {
  const base = { source: tunnelOf('f1'), destination: at.address('h1') }
  const tcp = (options: TcpOptions = {}): Uint8Array => buildTcp4(tunnelled('h1', 0x7f200001, options))
  await at.dropped('h1', { [DROP.FRAGMENT]: 4 }, () => {
    at.toNode('h1', tcp({ moreFragments: true }))
    at.toNode('h1', tcp({ moreFragments: true, fragmentOffset: 64 }))
    at.toNode('h1', tcp({ fragmentOffset: 8 }))
    at.toNode('h1', buildIp4(6, random(8), { ...base, moreFragments: true }))
  })
  await at.dropped('h1', { [DROP.UNSUPPORTED_PROTOCOL]: 6 }, () => {
    // Of ICMP, what is no error: a redirect.
    for (const protocol of [0, 1, 2, 47, 132, 255])
      at.toNode('h1', buildIp4(protocol, protocol === 1 ? Uint8Array.of(5, ...random(39)) : random(40), base))
  })
  // Packets in packets (R-A4), but what is inside is none.
  await at.dropped('h1', { [DROP.BAD_VERSION]: 2 }, () => {
    for (const protocol of [4, 41]) at.toNode('h1', buildIp4(protocol, Uint8Array.of(0, ...random(39)), base))
  })
  /** Reason, offset and value of a byte, and whether the header checksum is made right again. */
  const damaged: [number, number, number, boolean][] = [
    [DROP.BAD_HEADER_LENGTH, 0, 0x44, false],
    [DROP.BAD_HEADER_LENGTH, 32, 0x40, false],
    [DROP.BAD_TOTAL_LENGTH, 3, 19, true],
    [DROP.TRUNCATED, 2, 9, true],
    [DROP.TRUNCATED, 3, 30, true],
    [DROP.BAD_VERSION, 0, 0x55, true],
    [DROP.BAD_CHECKSUM, 10, 0, false],
  ]
  for (const [reason, offset, value, checksum] of damaged)
    await at.dropped('h1', { [reason]: 1 }, () => {
      const packet = tcp({ identification: 0x5555 })
      packet[offset] = packet[offset] === value ? value ^ 0xff : value
      if (checksum) fixIpChecksum(packet)
      at.toNode('h1', packet)
    })
})

test('a flood of 5,000 unknown identifiers is held within bounds and counted to the last', async () => {
  await at.droppedAll('h2', 5000, () => {
    for (let i = 0; i < 5000; i++) at.toNode('h2', buildTcp4(tunnelled('h2', 0x7e000001 + i)))
  })
  for (const limit of (await at.status('h2')).limits) assert.ok(limit.used <= limit.capacity, limit.name)
})

type Live = FlowsData['flows'][number] & { forwarder: string; number: number }
const liveFlow = async (clientPort: number): Promise<Live> => {
  let found: Live | undefined
  await at.until(`port ${clientPort} has a route in the kernel`, async () => {
    for (const { name } of at.lab.forwarders) {
      const { flows } = await at.lab.api<FlowsData>(name, `/v1/flows?client=10.20.0.11:${clientPort}`)
      if (flows[0]?.plumbed)
        found = { ...flows[0], forwarder: name, number: Number.parseInt(flows[0].identifier, 16) }
    }
    return found !== undefined
  })
  return found!
}

/** Attacks a slow upload whose mapping is in the kernel of its host; its bytes must arrive as they were sent. */
const duringUpload = async (clientPort: number, attack: (flow: Live) => Promise<void>): Promise<void> => {
  const file = at.lab.webFiles.find(f => f.path === '/10m')!
  const curl = ['curl', '-sS', '--max-time', '60', '--local-port', String(clientPort), '--limit-rate', '3M']
  const upload = at.lab.exec('client1', [
    ...curl,
    '-T',
    `${at.lab.files('f1').dir}/../files/10m`,
    `http://${VIP}/upload/u${clientPort}`,
  ])
  const flow = await liveFlow(clientPort)
  const before = (await at.status(flow.host)).counters.kernel_decap_hit!
  await at.until(
    'the mapping is in the kernel',
    async () => (await at.status(flow.host)).counters.kernel_decap_hit! > before,
  )
  try {
    await attack(flow)
  } finally {
    const { code, stderr } = await upload
    assert.is(code, 0, stderr)
  }
  const sum = await at.lab.exec(flow.host, [
    'sha256sum',
    `${at.lab.files(flow.host).web}/uploads/u${clientPort}`,
  ])
  assert.is(sum.stdout.split(' ')[0], file.sha256)
}

test('forged tunnelled packets with a live identifier do not harm its connection', () =>
  duringUpload(6101, async flow => {
    for (let i = 0; i < 60; i++)
      for (const flags of [FLAG.SYN, FLAG.RST, FLAG.RST | FLAG.ACK, FLAG.FIN, FLAG.ACK | FLAG.PSH, 0, 255])
        at.toNode(
          flow.host,
          buildTcp4(tunnelled(flow.host, flow.number, { source: tunnelOf(flow.forwarder), flags })),
        )
  }))

test('a live identifier with another protocol goes nowhere', () =>
  duringUpload(6102, async flow => {
    const tap = await Tap.open(at.lab.netns(flow.host), `icmp and (src host ${VIP} or dst host ${ROUTER})`, {
      direction: 'out',
    })
    try {
      await at.dropped(flow.host, { [DROP.MAPPING_TUPLE_MISMATCH]: 10 }, () => {
        for (let i = 0; i < 10; i++)
          at.toNode(
            flow.host,
            buildUdp4(tunnelled(flow.host, flow.number, { source: tunnelOf(flow.forwarder) })),
          )
      })
      at.toNode(
        flow.host,
        buildUdp4({ source: ROUTER, destination: at.address(flow.host), destinationPort: 9 }),
      )
      await tap.first('ICMP of a closed port', packet => packet[12] === 10 && packet[13] === 10)
      assert.is(tap.packets.length, 1, 'the stack answered what should not have reached it')
    } finally {
      await tap.close()
    }
  }))

const SPRAY = `
const socket = require('node:dgram').createSocket('udp4')
const { randomBytes } = require('node:crypto')
const send = (bytes, host) => new Promise((resolve, reject) => socket.send(bytes, ${MAPPING_PORT}, host, e => e ? reject(e) : resolve()))
const [host, ...lengths] = process.argv.slice(1)
for (const length of lengths) await send(randomBytes(Number(length)), host)
socket.close()`

const spray = async (node: string, lengths: number[]): Promise<void> => {
  const argv = [
    process.execPath,
    '--input-type=module',
    '-e',
    `import { createRequire } from 'node:module'; const require = createRequire('/'); ${SPRAY}`,
  ]
  const { code, stderr } = await at.lab.exec('router', [...argv, at.address(node), ...lengths.map(String)])
  assert.is(code, 0, stderr)
}

test('random bytes of every length from 0 to 2000 at every mapping port', async () => {
  const lengths = Array.from({ length: 2001 }, (_, i) => i)
  for (const node of ['f1', 'c1', 'h1']) await at.droppedAll(node, lengths.length, () => spray(node, lengths))
})

test('datagrams that are longer than any mapping are counted too', async () => {
  const lengths = [2049, 3000, 9000, 40_000, 65_507]
  await at.droppedAll('h1', lengths.length, () => spray('h1', lengths))
})

/** A header about a flow of the second client, as f1 would write it. */
const header = (change: Partial<MappingHeader> = {}): MappingHeader => {
  const made = {
    ...createMappingHeader(),
    kind: KIND.MAP as number,
    epoch: 1,
    sequence: 1,
    protocol: 6,
    identifier: 0x01000001,
    ports: 40_000 * 65_536 + 80,
    ...change,
  }
  made.timeS = change.timeS ?? Math.floor(Date.now() / 1000)
  made.client.set(addressWords('10.20.0.12'))
  made.vip.set(addressWords(VIP))
  made.node.set(addressWords(tunnelOf('f1')))
  return made
}

test('true structure with a false tag, an unknown key, or a kind that nobody knows', async () => {
  for (const node of ['f1', 'c1', 'h1']) {
    const source = node === 'f1' ? at.address('h1') : at.address('f1')
    const send = (bytes: Uint8Array, change: (bytes: Uint8Array) => void): void => {
      change(bytes)
      at.toMappingPort(node, bytes, source)
    }
    // CLASSIFIED speaks of a tunnel address that only a forwarder has.
    const kinds = Object.values(KIND).filter(kind => node === 'f1' || kind !== KIND.CLASSIFIED)
    const signed = (kind: number): Uint8Array => at.sign(header({ kind }), tunnelOf('f1'), node)
    await at.dropped(node, { [DROP.MAPPING_BAD_TAG]: kinds.length * 8 }, () => {
      for (const kind of kinds)
        for (let i = 0; i < 8; i++) send(signed(kind), bytes => (bytes[40 + i]! ^= 1 << below(8)))
    })
    await at.dropped(node, { [DROP.MAPPING_UNKNOWN_KEY]: kinds.length }, () => {
      for (const kind of kinds) send(signed(kind), bytes => (bytes[2] = 2 + below(254)))
    })
    await at.dropped(node, { [DROP.MAPPING_BAD_KIND]: 8 }, () => {
      for (const kind of [0, 9, 10, 11, 12, 13, 14, 15])
        send(signed(KIND.MAP), bytes => (bytes[1] = 0x10 | kind))
    })
    await at.dropped(
      node,
      {
        [DROP.MAPPING_BAD_VERSION]: 2,
        [DROP.MAPPING_BAD_MAGIC]: 1,
        [DROP.MAPPING_BAD_FLAGS]: 1,
        [DROP.MAPPING_BAD_LENGTH]: 1,
      },
      () => {
        for (const version of [0, 2]) send(signed(KIND.MAP), bytes => (bytes[1] = (version << 4) | KIND.MAP))
        send(signed(KIND.MAP), bytes => (bytes[0] = 0x54))
        send(signed(KIND.MAP), bytes => (bytes[3] = 0x80))
        send(signed(KIND.MAP), bytes => (bytes[23] = 9))
      },
    )
  }
})

test('true messages at a node without the role for them, or from one without', async () => {
  const roles: Record<string, number[]> = {
    f1: [KIND.MAP, KIND.UNKNOWN, KIND.CLASSIFY],
    c1: [KIND.MAP, KIND.UNKNOWN, KIND.MAP_ACK, KIND.ASK, KIND.STALE_TIME, KIND.REFUSED],
    h1: [KIND.CLASSIFY, KIND.MAP_ACK, KIND.ASK, KIND.STALE_TIME, KIND.REFUSED],
  }
  for (const [node, kinds] of Object.entries(roles))
    await at.dropped(node, { [DROP.MAPPING_WRONG_ROLE]: kinds.length }, () => {
      for (const kind of kinds)
        at.toMappingPort(
          node,
          at.sign(header({ kind }), tunnelOf('f1'), node),
          at.address(node === 'f1' ? 'h1' : 'f1'),
        )
    })
  await at.dropped('f1', { [DROP.MAPPING_WRONG_ROLE]: 5 }, () => {
    for (const kind of [KIND.MAP_ACK, KIND.ASK, KIND.STALE_TIME, KIND.REFUSED, KIND.CLASSIFIED])
      at.toMappingPort('f1', at.sign(header({ kind }), tunnelOf('f1'), 'f1'), at.address('f2'))
  })
  await at.dropped('h1', { [DROP.MAPPING_NOT_A_PEER]: 4, [DROP.MAPPING_TIME]: 2 }, () => {
    for (const source of [ROUTER, at.address('f2'), at.address('h2'), '203.0.113.5'])
      at.toMappingPort('h1', at.sign(header({ epoch: 2 ** 31 }), tunnelOf('f1'), 'h1'), source)
    for (const off of [-40, 40])
      at.toMappingPort(
        'h1',
        at.sign(header({ timeS: Math.floor(Date.now() / 1000) + off }), tunnelOf('f1'), 'h1'),
        at.address('f1'),
      )
  })
})

/** Mapping datagrams to a node, from the other end of its cable: a host's XDP may take them in before anything there sees them. */
const listen = (node: string): Promise<Tap> =>
  Tap.open(at.lab.netns('switch'), `udp dst port ${MAPPING_PORT}`, {
    ...{ direction: 'out', device: `to-${node}` },
  })
const payloadOf = (packet: Uint8Array): Uint8Array => packet.slice(28)
const isKind =
  (kind: number, from: string) =>
  (packet: Uint8Array): boolean =>
    (packet[29]! & 15) === kind && packet.slice(12, 16).join('.') === from

/** A MAP with a SYN inside, of a request that is over. */
const captureMap = async (forwarder: string, host: string): Promise<Uint8Array> => {
  const tap = await listen(host)
  try {
    const wanted = isKind(KIND.MAP, at.address(forwarder))
    return payloadOf(
      await tap.first(
        'MAP',
        packet => wanted(packet) && packet.length > 28 + 48 + 40 && packet[28 + 48 + 33] === FLAG.SYN,
      ),
    )
  } finally {
    await tap.close()
  }
}

test('a captured MAP: again from elsewhere, altered in every byte, with another packet inside', async () => {
  const map = await captureMap('f1', 'h1')
  await at.dropped('h1', { [DROP.MAPPING_NOT_A_PEER]: 3 }, () => {
    for (const source of [ROUTER, at.address('f2'), at.address('h2')]) at.toMappingPort('h1', map, source)
  })
  await at.droppedAll('h1', 48, () => {
    for (let i = 0; i < 48; i++) {
      const altered = map.slice()
      altered[i]! ^= 1 << below(8)
      at.toMappingPort('h1', altered, at.address('f1'))
    }
  })
  const other: [number, number][] = [
    [12, 1],
    [15, 3],
    [19, 2],
    [21, 1],
    [23, 1],
  ]
  await at.dropped('h1', { [DROP.MAPPING_TUPLE_MISMATCH]: other.length }, () => {
    for (const [offset, bits] of other) {
      const inner = map.slice(48)
      inner[offset]! ^= bits
      fixIpChecksum(inner)
      at.toMappingPort('h1', Uint8Array.from([...map.slice(0, 48), ...inner]), at.address('f1'))
    }
  })
})

test('a captured MAP again, at once and after the flow has ended: nobody gets anything of it', async () => {
  const map = await captureMap('f2', 'h2')
  await at.dropped('h2', {}, () => {
    for (let i = 0; i < 50; i++) at.toMappingPort('h2', map, at.address('f2'))
  })
  const used = async (): Promise<number> =>
    (await at.status('h2')).limits.find(limit => limit.name === 'mappings')!.used
  const client = new DataView(map.buffer).getUint16(24)
  await at.until('the flow is over', async () => {
    const { flows } = await at.lab.api<FlowsData>('f2', `/v1/flows?client=10.20.0.11:${client}`)
    return flows.length === 0
  })
  const before = await used()
  await at.dropped('h2', {}, () => {
    for (let i = 0; i < 50; i++) at.toMappingPort('h2', map, at.address('f2'))
  })
  assert.ok((await used()) < before + 50, 'one identifier is one mapping')
})

const CONNECT = `
const socket = require('node:net').connect({ port: 80, host: '${VIP}', localPort: 6201 })
socket.on('connect', () => console.log('connected'))
socket.on('data', d => { console.log(/\\r\\n\\r\\n(h\\d)/.exec(d)[1]); process.exit(0) })
socket.on('error', e => { console.log(e.code); process.exit(1) })
process.stdin.on('data', () => socket.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'))`

test('a captured MAP is of no use at another host', async () => {
  const taps = await Promise.all(at.lab.hosts.map(host => listen(host.name)))
  const child = at.lab.spawn('client1', [process.execPath, '-e', CONNECT])
  const lines = createInterface(child.stdout!)[Symbol.asyncIterator]()
  try {
    assert.is((await lines.next()).value, 'connected')
    // The SYN's, and any later one: at a host without the connection its packet would be answered by a RST.
    const mine = (packet: Uint8Array): boolean =>
      ((packet[52]! << 8) | packet[53]!) === 6201 && (packet[29]! & 15) === KIND.MAP
    const host = await Promise.any(taps.map((tap, i) => tap.first('MAP', mine).then(() => i)))
    const maps = taps[host]!.packets.filter(mine)
    const other = at.lab.hosts[1 - host]!.name
    await at.droppedAll(other, maps.length, () => {
      for (const packet of maps) at.toMappingPort(other, payloadOf(packet), packet.slice(12, 16).join('.'))
    })
    child.stdin!.write('now\n')
    assert.is((await lines.next()).value, at.lab.hosts[host]!.name)
  } finally {
    child.stdin!.end()
    child.kill()
    await Promise.all(taps.map(tap => tap.close()))
  }
})

test('a MAP of an earlier life of its forwarder is refused, and does no harm there', async () => {
  const epochOf = (map: Uint8Array): number => new DataView(map.buffer).getUint32(4)
  const map = await captureMap('f1', 'h1')
  // An agent that finds what the one before left goes on with its epoch; this one finds nothing.
  const agent = at.lab.process('f1')!
  process.kill(agent.pid, 'SIGKILL')
  await at.until('the agent of f1 is gone', async () => !isAlive(agent))
  const { code, stderr } = await at.lab.shunt('f1', [
    'agent',
    '--flush',
    '--config',
    at.lab.files('f1').config,
  ])
  assert.is(code, 0, stderr)
  await at.lab.startAgent('f1')
  await at.expectPid('f1')
  await at.until(
    'h1 has heard of the new life',
    async () => epochOf(await captureMap('f1', 'h1')) > epochOf(map),
  )
  const { epoch } = await at.status('f1')
  await at.dropped('h1', { [DROP.MAPPING_OLD_EPOCH]: 20 }, () => {
    for (let i = 0; i < 20; i++) at.toMappingPort('h1', map, at.address('f1'))
  })
  await at.unharmed()
  assert.is((await at.status('f1')).epoch, epoch, 'the refusal made the forwarder give up its epoch')
})

test('captured answers again at a forwarder, at once, from elsewhere, and when they mean nothing any more', async () => {
  const tap = await listen('f1')
  const captured: [number, string, Uint8Array][] = []
  try {
    for (const [kind, from] of [
      [KIND.MAP_ACK, 'h1'],
      [KIND.MAP_ACK, 'h2'],
      [KIND.CLASSIFIED, 'c1'],
    ] as const)
      captured.push([
        kind,
        from,
        payloadOf(await tap.first(`${kind} of ${from}`, isKind(kind, at.address(from)))),
      ])
    // An ASK of h1, which it is made to send.
    at.toNode('h1', buildTcp4(tunnelled('h1', 0x7d000001)))
    captured.push([KIND.ASK, 'h1', payloadOf(await tap.first('ASK', isKind(KIND.ASK, at.address('h1'))))])
    // A STALE_TIME of h1: a MAP of another time makes it speak.
    at.toMappingPort('h1', at.sign(header({ timeS: 1 }), tunnelOf('f1'), 'h1'), at.address('f1'))
    captured.push([
      KIND.STALE_TIME,
      'h1',
      payloadOf(await tap.first('STALE_TIME', isKind(KIND.STALE_TIME, at.address('h1')))),
    ])
  } finally {
    await tap.close()
  }
  const { epoch } = await at.status('f1')
  const strike = (): void => {
    for (let i = 0; i < 20; i++)
      for (const [, from, bytes] of captured) at.toMappingPort('f1', bytes, at.address(from))
  }
  strike()
  await at.unharmed()
  await at.dropped('f1', { [DROP.MAPPING_WRONG_ROLE]: captured.length }, () => {
    for (const [, , bytes] of captured) at.toMappingPort('f1', bytes, at.address('f2'))
  })
  await at.until('the flows are over', async () => {
    const ports = captured
      .map(([, , bytes]) => new DataView(bytes.buffer).getUint16(24))
      .filter(port => port !== 0)
    const { flows } = await at.lab.api<FlowsData>('f1', '/v1/flows?limit=10000')
    return !flows.some(
      flow => ports.includes(Number(flow.client.split(':')[1])) && flow.client.startsWith('10.20.0.11:'),
    )
  })
  strike()
  await at.unharmed()
  const now = await at.status('f1')
  assert.is(now.epoch, epoch)
  for (const limit of now.limits) assert.ok(limit.used <= limit.capacity, limit.name)
})

it.run()
