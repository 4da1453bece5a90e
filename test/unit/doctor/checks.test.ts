import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../../src/agent/dataplane/drops.ts'
import { parseNodeFile } from '../../../src/config/load.ts'
import type { AbsentRow, HealthData } from '../../../src/control/types.ts'
import { CHECKS, countByStatus, type Diagnosis, examine } from '../../../src/doctor/examine.ts'
import type { AgentFacts, Facts } from '../../../src/doctor/facts.ts'
import { healthyAgent, healthyFacts, NODE_FILE } from '../../support/doctor-facts.ts'
import { HEALTH } from '../../support/fake-view.ts'

const it = suite('doctor/checks')

/** What is found of a machine that differs from a healthy one by `change` only. */
const found = (change: Partial<Facts>): Diagnosis[] =>
  examine({ ...healthyFacts(), ...change }).filter(({ status }) => status === 'warn' || status === 'fail')
const foundOfAgent = (change: Partial<AgentFacts>): Diagnosis[] =>
  found({ agent: { value: { ...healthyAgent(), ...change } } })
const withFile = (text: string): Partial<Facts> => ({ config: { value: parseNodeFile(text, 'node.yaml') } })
const withSysctl = (name: string, value: string): Partial<Facts> => ({
  sysctls: new Map([...healthyFacts().sysctls, [name, value]]),
})
const withAddress = (link: string, address: string, prefixLength: number): Partial<Facts> => {
  const { addresses } = healthyFacts()
  assert.ok('value' in addresses)
  const others = addresses.value.filter(entry => entry.address !== address)
  return { addresses: { value: [...others, { link, address, prefixLength }] } }
}
const conflict = (id: (own: string) => string): Partial<AgentFacts> => {
  const { cluster } = healthyAgent()
  assert.ok('value' in cluster)
  const conflicts = [{ id: id(cluster.value.node.id), name: 'f1', why: 'h9 has the name f1 already' }]
  return { cluster: { value: { ...cluster.value, conflicts } } }
}
const row = (change: object): Partial<AgentFacts> => {
  const { nodes } = healthyAgent()
  assert.ok('value' in nodes)
  return {
    nodes: {
      value: {
        ...nodes.value,
        nodes: nodes.value.nodes.map(node => (node.name === 'h2' ? { ...node, ...change } : node)),
      },
    },
  }
}
const everyRow = (change: object): Partial<AgentFacts> => {
  const { nodes } = healthyAgent()
  assert.ok('value' in nodes)
  const rows = nodes.value.nodes.map(node => (node.self ? node : { ...node, ...change }))
  return { nodes: { value: { ...nodes.value, nodes: rows } } }
}
const documentWarning = (text: string): Partial<AgentFacts> => {
  const { config } = healthyAgent()
  assert.ok('value' in config)
  return { config: { value: { ...config.value, warnings: [text] } } }
}
const vip = (change: object): Partial<AgentFacts> => {
  const { vips } = healthyAgent()
  assert.ok('value' in vips)
  return { vips: { value: { vips: vips.value.vips.map(entry => ({ ...entry, ...change })) } } }
}
const health = (change: Partial<HealthData>): Partial<AgentFacts> => {
  const { health: known } = healthyAgent()
  assert.ok('value' in known)
  return { health: { value: { ...known.value, ...change } } }
}
const gone: AbsentRow = {
  ...{ host: 'h1', service: 'web', vip: '10.99.0.1:80', protocol: 'tcp', capacity: 50, order: null },
}
const drop = (number: number): Partial<AgentFacts> => ({
  drops: { value: { drops: [{ number, reason: 'why', where: 'agent', count: 7, hint: 'what to do' }] } },
})

it('finds nothing wrong with a healthy machine, and every check has a say', () => {
  const all = examine(healthyFacts())
  assert.equal(
    all.filter(({ status }) => status === 'warn' || status === 'fail'),
    [],
  )
  assert.equal(
    all.map(({ check }) => check),
    CHECKS.map(({ id }) => id),
  )
  assert.equal(countByStatus(all), { pass: CHECKS.length - 2, warn: 0, fail: 0, skip: 2 })
})

const running = healthyAgent().status
const CASES: [what: string, found: () => Diagnosis[], check: string, status: string, text: RegExp][] = [
  [
    'another system',
    () => found({ kernel: { system: 'Darwin', release: '24.0', machine: 'arm64' } }),
    'kernel',
    'fail',
    /Darwin/,
  ],
  [
    'an older kernel',
    () => found({ kernel: { system: 'Linux', release: '6.9.12-generic', machine: 'x64' } }),
    'kernel',
    'warn',
    /6\.9\.12/,
  ],
  ['no capability', () => found({ capabilities: 1n << 12n }), 'privileges', 'fail', /lacks CAP_NET_RAW\./],
  ['no nft', () => found({ nftVersion: { error: 'spawn nft ENOENT' } }), 'nftables', 'fail', /ENOENT/],
  [
    'an nft that refuses',
    () => found({ nftRuleset: { error: 'Operation not supported' } }),
    'nftables',
    'fail',
    /not supp/,
  ],
  ['no TUN', () => found({ hasTun: false }), 'tun', 'fail', /tun/],
  [
    'a control group that cannot be read',
    () => found({ cgroup: { value: { asked: '/lab/h1', readable: false } } }),
    'cgroup',
    'warn',
    /node\.cgroup: \/lab\/h1\) cannot be read: its load is that of the whole machine/,
  ],
  [
    'a free-running clock',
    () => found({ clock: { value: { synchronised: false, maxErrorMs: 16_000 } } }),
    'clock',
    'warn',
    /No time service/,
  ],
  [
    'an open key',
    () => found({ files: [{ path: '/k', what: 'identity', required: true, mode: 0o644 }] }),
    'private-files',
    'fail',
    /\/k is open to other users \(mode 644\)/,
  ],
  [
    'a missing key',
    () => found({ files: [{ path: '/k', what: 'identity', required: true, mode: null }] }),
    'private-files',
    'fail',
    /missing/,
  ],
  [
    'an open state directory',
    () =>
      found({ stateDir: { path: '/s', mode: 0o777, isDirectory: true, writable: true, freeBytes: 1e10 } }),
    'state-dir',
    'fail',
    /Others may write/,
  ],
  [
    'a full disk',
    () => found({ stateDir: { path: '/s', mode: 0o700, isDirectory: true, writable: true, freeBytes: 1e6 } }),
    'state-dir',
    'warn',
    /1\.0 MB/,
  ],
  [
    'a state directory yet to come',
    () => found({ stateDir: { path: '/s', mode: null, isDirectory: false, writable: false, freeBytes: 0 } }),
    'state-dir',
    'warn',
    /not there yet/,
  ],
  [
    'a link that is down',
    () =>
      found({
        links: { value: ['eth0', 'eth1'].map(name => ({ name, up: name === 'eth0', mtuBytes: 1500 })) },
      }),
    'interfaces',
    'fail',
    /eth1 is down/,
  ],
  [
    'a link that is not there',
    () => found({ links: { value: [{ name: 'eth0', up: true, mtuBytes: 1500 }] } }),
    'interfaces',
    'fail',
    /no interface eth1/,
  ],
  [
    'unequal MTUs',
    () =>
      found({
        links: {
          value: [
            { name: 'eth0', up: true, mtuBytes: 1500 },
            { name: 'eth1', up: true, mtuBytes: 9000 },
          ],
        },
      }),
    'mtu',
    'warn',
    /eth0 1500, eth1 9000/,
  ],
  [
    'a tiny MTU',
    () => found({ links: { value: ['eth0', 'eth1'].map(name => ({ name, up: true, mtuBytes: 576 })) } }),
    'mtu',
    'fail',
    /576/,
  ],
  [
    'a foreign cluster address',
    () => found(withFile(NODE_FILE.replace('cluster: 10.10.0.31', 'cluster: 10.10.0.99'))),
    'address',
    'fail',
    /10\.10\.0\.99 is not an address/,
  ],
  [
    'the cluster address on another link',
    () => found(withAddress('eth9', '10.10.0.31', 24)),
    'address',
    'warn',
    /eth9/,
  ],
  [
    'a tunnel address that is configured',
    () => found(withAddress('eth0', '10.10.0.131', 24)),
    'tunnel-address',
    'fail',
    /\/24/,
  ],
  [
    'a tunnel address in use',
    () =>
      found({
        sockets: { value: [{ protocol: 'udp', address: '10.10.0.131', port: 53, listening: false }] },
      }),
    'tunnel-address',
    'fail',
    /udp socket/,
  ],
  [
    'low arp_ignore',
    () => found(withSysctl('net.ipv4.conf.all.arp_ignore', '0')),
    'arp',
    'fail',
    /arp_ignore on eth0/,
  ],
  [
    'strict rp_filter',
    () => found(withSysctl('net.ipv4.conf.eth1.rp_filter', '1')),
    'reverse-path',
    'fail',
    /eth1/,
  ],
  [
    'strict rp_filter on the TUN device',
    () => found(withSysctl('net.ipv4.conf.shunt0.rp_filter', '1')),
    'reverse-path',
    'fail',
    /shunt0 drops every client/,
  ],
  [
    'strict rp_filter on all, which another setting does not loosen',
    () => found(withSysctl('net.ipv4.conf.all.rp_filter', '1')),
    'reverse-path',
    'fail',
    /eth1/,
  ],
  ['no echo', () => found(withSysctl('net.ipv4.icmp_echo_ignore_all', '1')), 'echo', 'fail', /no echo/],
  ['no agent', () => found({ agent: { error: 'nobody listens there' } }), 'agent', 'fail', /nobody listens/],
  [
    'an agent of another version',
    () => foundOfAgent({ status: { ...running, version: '0.0.1' } }),
    'agent',
    'warn',
    /0\.0\.1/,
  ],
  [
    'a draining agent',
    () => foundOfAgent({ status: { ...running, state: 'draining' } }),
    'agent',
    'warn',
    /draining/,
  ],
  [
    'a dead machine',
    () => foundOfAgent(row({ node: 'dead', agent: 'dead' })),
    'nodes',
    'fail',
    /h2 .*no probes/,
  ],
  ['a dead agent', () => foundOfAgent(row({ agent: 'dead' })), 'nodes', 'fail', /agent on h2/],
  [
    'a machine that drops echoes',
    () => foundOfAgent(row({ node: 'unknown' })),
    'nodes',
    'warn',
    /never answered/,
  ],
  [
    'an agent that listens but keeps no link',
    () => foundOfAgent({ ...row({ agent: 'dead' }), listening: ['h2'] }),
    'nodes',
    'fail',
    /agent on h2/,
  ],
  [
    'a node that all others refuse',
    () => foundOfAgent({ ...everyRow({ agent: 'dead' }), listening: ['f1', 'h2'] }),
    'nodes',
    'fail',
    /others refuse this node: was it evicted, or did it leave.*f1, h2 listen/,
  ],
  [
    'a node that was evicted and knows it',
    () => found({ standing: { value: { kind: 'gone', why: 'this node has left the cluster; join' } } }),
    'membership',
    'fail',
    /^This node has left the cluster\.$/,
  ],
  [
    'a node that left, and runs no agent',
    () =>
      found({
        standing: { value: { kind: 'gone', why: 'this node has left the cluster; join' } },
        agent: { error: 'nobody listens there' },
      }),
    'membership',
    'fail',
    /left/,
  ],
  [
    'a node in conflict',
    () => found({ standing: { value: { kind: 'conflict', why: 'no member for now: h9; evict it' } } }),
    'membership',
    'fail',
    /h9\.$/,
  ],
  [
    'a saved state that cannot be read',
    () => found({ standing: { error: 'cluster.json is damaged' } }),
    'membership',
    'warn',
    /damaged/,
  ],
  [
    'a host of a pool without the role',
    () =>
      foundOfAgent(
        documentWarning('h2 of pool web does not have the role host; shunt roles h2 +host gives it'),
      ),
    'cluster',
    'warn',
    /h2 of pool web does not have the role host\.$/,
  ],
  [
    'a service whose pool names an evicted host',
    () => foundOfAgent(vip({ hosts: 1, live: 1 })),
    'services',
    'warn',
    /web has 1 of the 2 hosts/,
  ],
  ['other statements', () => foundOfAgent(row({ synced: false })), 'nodes', 'warn', /same statements/],
  ['a service without hosts', () => foundOfAgent(vip({ live: 0 })), 'services', 'fail', /web has no live/],
  [
    'a service all of whose hosts are drained',
    () => foundOfAgent(vip({ ready: 0 })),
    'services',
    'fail',
    /no host of web takes new connections/,
  ],
  [
    'a service of which all hosts fail',
    () => foundOfAgent(vip({ fallback: 'failing' })),
    'services',
    'fail',
    /only failing hosts are left of web; they are used/,
  ],
  [
    'an application that fails',
    () => foundOfAgent(health({ cache: HEALTH.cache })),
    'applications',
    'warn',
    /dns on h1 is failing\.$/,
  ],
  [
    'an application that is gone',
    () => foundOfAgent(health({ absent: [gone] })),
    'applications',
    'warn',
    /^Nothing listens for web on h1\.$/,
  ],
  [
    'a service of which all hosts are overloaded',
    () => foundOfAgent(health({ shares: [{ ...HEALTH.shares![0]!, overload: true }] })),
    'applications',
    'warn',
    /^Only overloaded hosts are left of web; /,
  ],
  ['a service with fewer hosts', () => foundOfAgent(vip({ live: 1 })), 'services', 'warn', /1 of 2/],
  [
    'the holder of a virtual IP has no agent',
    () => foundOfAgent(vip({ announce: 'arp', holder: 'f2', unattended: true })),
    'services',
    'fail',
    /^The agent of f2, which holds 10\.99\.0\.1, is not heard: new connections may wait\.$/,
  ],
  [
    'no classifier',
    () => foundOfAgent(vip({ classifiers: 0 })),
    'services',
    'fail',
    /^No classifier is alive: no new connections\.$/,
  ],
  ['a virtual IP that is missing', () => found(missingVip()), 'virtual-ips', 'fail', /not on lo/],
  [
    'an IPv6 address that a node of an IPv6 service lacks',
    () => found({ ...withAddress('lo', 'fd00:99::1', 128), agent: { value: lacking6() } }),
    'ipv6',
    'warn',
    /^h1 has no IPv6 address in the cluster, so as a host it carries nothing of web\./,
  ],
  [
    'a virtual IP on a link',
    () => found(withAddress('eth0', '10.99.0.1', 32)),
    'virtual-ips',
    'fail',
    /claims it on the wire/,
  ],
  [
    'an own admission in conflict',
    () => foundOfAgent(conflict(own => own)),
    'cluster',
    'fail',
    /This node is no member for now: h9 has the name f1 already/,
  ],
  [
    'an admission of another in conflict',
    () => foundOfAgent(conflict(() => '12D3KooWother')),
    'cluster',
    'warn',
    /f1 \(12D3KooWother\) is in conflict/,
  ],
  [
    'refused kernel changes',
    () => foundOfAgent({ status: { ...running, counters: { kernel_change_failures: 3 } } }),
    'tables',
    'warn',
    /kernel_change_failures 3/,
  ],
  [
    'a full table',
    () =>
      foundOfAgent({
        status: { ...running, limits: [{ name: 'flows', used: 95, capacity: 100, evicted: 0 }] },
      }),
    'tables',
    'warn',
    /flows is 95%/,
  ],
  ['serious drops', () => foundOfAgent(drop(DROP.RING_FULL)), 'drops', 'warn', /7 packets dropped.*why/],
]

/** Its service is of IPv6, and all but h1 have what that needs. */
const lacking6 = (): AgentFacts => {
  const agent = { ...healthyAgent(), ...vip({ vip: 'fd00:99::1' }) }
  assert.ok('value' in agent.nodes)
  const nodes = agent.nodes.value.nodes.map((row, i) => ({
    ...row,
    address6: row.name === 'h1' ? null : `fd00::${i + 1}`,
    tunnel6: `fd01::${i + 1}`,
  }))
  return { ...agent, nodes: { value: { ...agent.nodes.value, nodes } } }
}
const missingVip = (): Partial<Facts> => {
  const { addresses } = healthyFacts()
  assert.ok('value' in addresses)
  return { addresses: { value: addresses.value.filter(entry => entry.address !== '10.99.0.1') } }
}

for (const [what, diagnose, check, status, text] of CASES) {
  it(`finds ${what}, and nothing else`, () => {
    const findings = diagnose()
    assert.is(findings.length, 1, JSON.stringify(findings))
    const [finding] = findings
    assert.is(finding?.check, check)
    assert.is(finding?.status, status)
    assert.match(finding?.text ?? '', text)
    assert.ok((finding?.fix ?? '').length > 3, 'says what to do')
  })
}

it('a warning that names a command gives it as the way out', () => {
  const text = 'h2 of pool web does not have the role host; shunt roles h2 +host gives it'
  const [finding] = foundOfAgent(documentWarning(text))
  assert.is(finding?.fix, 'shunt roles h2 +host gives it; or correct it with shunt apply')
  const [other] = foundOfAgent(documentWarning('no service uses the pool api'))
  assert.is(other?.fix, 'correct it with shunt apply')
})

it('of dead machines and refusals each is told', () => {
  const { nodes } = everyRow({ agent: 'dead' })
  assert.ok(nodes !== undefined && 'value' in nodes)
  const rows = nodes.value.nodes.map(node => (node.name === 'h2' ? { ...node, node: 'dead' as const } : node))
  const findings = foundOfAgent({ nodes: { value: { ...nodes.value, nodes: rows } }, listening: ['f1'] })
  assert.equal(
    findings.map(({ text }) => /refuse this node|h2 .* answers no probes/.test(text)),
    [true, true],
  )
})

it('when nobody answers, this node is the one that is cut off, and nobody is to be evicted', () => {
  for (const node of ['dead', 'unknown'] as const) {
    const findings = foundOfAgent(everyRow({ node, agent: 'dead' }))
    assert.is(findings.length, 1, JSON.stringify(findings))
    assert.match(findings[0]!.text, /^None of the \d other nodes answers: most likely this node is cut off/)
    assert.not.match(findings[0]!.fix!, /shunt evict/)
  }
  assert.is(foundOfAgent(row({ node: 'dead', agent: 'dead' })).length, 1)
  assert.match(foundOfAgent(row({ node: 'dead', agent: 'dead' }))[0]!.fix!, /shunt evict/)
})

it('leaves drops that are the traffic’s own alone', () => {
  assert.equal(foundOfAgent(drop(DROP.NOT_A_SERVICE)), [])
})

it('an application that is gone where it is drained, or has no capacity, is not missed', () => {
  assert.equal(
    foundOfAgent(
      health({
        absent: [
          { ...gone, order: 'draining' },
          { ...gone, capacity: 0 },
        ],
      }),
    ),
    [],
  )
})

it('nobody is told to delete an address by which the machine is reached', () => {
  const agent = (change: object): AgentFacts => ({
    ...healthyAgent(),
    status: { ...running, node: 'f1', roles: ['forwarder'] },
    ...vip(change),
  })
  for (const address of ['127.0.0.1', '10.10.0.31']) {
    const [finding] = found({ agent: { value: agent({ vip: address }) } })
    assert.is(finding?.check, 'virtual-ips')
    assert.match(finding?.fix ?? '', /give the service another virtual IP$/)
  }
  const [finding] = found({ agent: { value: agent({}) } })
  assert.is(finding?.fix, 'ip address del 10.99.0.1/32 dev lo')
  const [onLink] = found(withAddress('eth0', '10.99.0.1', 24))
  assert.match(onLink?.fix ?? '', /another virtual IP$/)
})

it('a forwarder that is no host must not hold a virtual IP', () => {
  const agent = { ...healthyAgent(), status: { ...running, node: 'f1', roles: ['forwarder'] } }
  const [finding] = found({ agent: { value: agent } })
  assert.is(finding?.check, 'virtual-ips')
  assert.match(finding?.text ?? '', /answers its clients itself/)
})

it('the holder of a virtual IP has its address on its uplinks; nobody else may, nor may it be an own one', () => {
  const forwarder = (change: object): AgentFacts => ({
    ...healthyAgent(),
    status: { ...running, node: 'f1', roles: ['forwarder'] },
    ...vip({ vip: '10.99.0.2', announce: 'arp', holder: 'f1', ...change }),
  })
  const of = (change: object, link = 'eth0', prefix = 32) =>
    found({ ...withAddress(link, '10.99.0.2', prefix), agent: { value: forwarder(change) } }).filter(
      ({ check }) => check === 'virtual-ips',
    )
  assert.equal(of({}), [])
  for (const findings of [
    of({ holder: 'f2' }),
    of({ holder: null }),
    of({ announce: 'routed' }),
    of({}, 'lo'),
    of({}, 'eth0', 24),
  ])
    assert.match(findings[0]?.text ?? '', /answers its clients itself/)
})

it('looks for the agent’s ports only while it does not run', () => {
  const taken = [
    { protocol: 'tcp', address: '0.0.0.0', port: 6780, listening: true },
    { protocol: 'tcp', address: '10.10.0.31', port: 6780, listening: false },
    { protocol: 'udp', address: '10.10.0.31', port: 6781, listening: false },
    { protocol: 'udp', address: '192.0.2.1', port: 6781, listening: false },
  ] as const
  assert.equal(found({ sockets: { value: taken } }), [])
  const findings = found({ sockets: { value: taken }, agent: { error: 'away' } })
  assert.equal(
    findings.map(({ check, text }) => `${check} ${text}`),
    [
      'ports Another process holds tcp port 6780.',
      'ports Another process holds udp port 6781.',
      'agent No agent can be asked: away',
    ],
  )
})

it('an agent that hangs is told of by its pid, and its ports are its own', () => {
  const taken = [{ protocol: 'tcp', address: '0.0.0.0', port: 6780, listening: true }] as const
  const findings = found({ sockets: { value: taken }, agent: { error: 'timed out' }, holder: 4711 })
  assert.equal(
    findings.map(({ check, text }) => `${check} ${text}`),
    [
      `agent Agent pid 4711 holds ${healthyFacts().controlSocket} and does not answer: it hangs, or is stopped.`,
    ],
  )
})

it('without a node file it says why, and skips what rests on it', () => {
  const all = examine({
    ...healthyFacts(),
    config: { error: 'node.yaml:1:1 version: is missing' },
    stateDir: null,
    files: [],
    agent: { error: 'away' },
  })
  assert.equal(
    all.filter(({ status }) => status === 'fail').map(({ check }) => check),
    ['node-file', 'agent'],
  )
  assert.ok(all.filter(({ status }) => status === 'skip').length >= 10)
})

it('only kernel settings and modes are offered to --fix', () => {
  const remedies = CASES.flatMap(([, diagnose]) => diagnose()).flatMap(({ remedy }) => remedy ?? [])
  assert.equal(
    remedies.map(remedy => (remedy.kind === 'mode' ? `mode ${remedy.path}` : remedy.name.at(-1))),
    ['mode /k', 'mode /s', 'arp_ignore', 'rp_filter', 'rp_filter', 'rp_filter', 'icmp_echo_ignore_all'],
  )
})

it('says what carries the packets: the agent, or what it would find (decision 31)', () => {
  const said = (change: Partial<Facts>): Diagnosis[] =>
    examine({ ...healthyFacts(), ...change }).filter(({ check }) => check === 'dataplane')
  const running = { ...healthyAgent(), status: { ...healthyAgent().status, dataplane: 'xdp native on eth0' } }
  assert.match(said({ agent: { value: running } })[0]!.text, /Packets go by xdp native on eth0\./)

  const stopped = { agent: { error: 'no agent' }, xdpHindrance: { value: 'eth0 is a veth' } }
  for (const [asked, status, text] of [
    ['auto', 'pass', /by nftables: eth0 is a veth/],
    ['xdp', 'fail', /asks for XDP, which cannot be: eth0 is a veth/],
    ['nftables', 'pass', /as the node file asks/],
  ] as const) {
    const [row] = said({ ...stopped, ...withFile(`${NODE_FILE}dataplane: ${asked}\n`) })
    assert.is(row!.status, status, asked)
    assert.match(row!.text, text)
  }
})

it.run()
