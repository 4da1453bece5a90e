import { on, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { answerGet } from '../../../src/control/answer.ts'
import { type ControlServer, startControlServer } from '../../../src/control/server.ts'
import { collect, shunt, startShunt } from '../../support/cli.ts'
import { FakeView, FLOWS, HEALTH, HOSTS, NODES, STATUS, VIPS } from '../../support/fake-view.ts'

const it = suite('cli/nouns')
const dir = mkdtempSync(join(tmpdir(), 'shunt-cli-'))
const SHUNT_SOCKET = join(dir, 'control.sock')
const env = { SHUNT_SOCKET }
let server: ControlServer
let view: FakeView

it.before(async () => {
  view = new FakeView()
  server = await startControlServer({ socketPath: SHUNT_SOCKET, view, node: 'f1', log: { error: () => {} } })
})
it.after(async () => {
  await server.close()
  rmSync(dir, { recursive: true })
})

const GOLDEN: Record<string, { code: number; stdout: string; stderr: string }> = {
  status: {
    code: 3,
    stderr: 'warning: peer h2 (10.10.0.32) is dead\n',
    stdout: `node        f1
state       running
roles       forwarder, classifier
version     0.1.0
pid         4711
uptime      2h 5m
data plane  nftables
epoch       3
memory      92.1 MB
traffic     1235 packets/s, 1.2 MB/s, 13 new connections/s

PEER  ROLES  ADDRESS     STATE  HEARD    RTT
h1    host   10.10.0.31  alive  120ms  0.4ms
h2    host   10.10.0.32  dead   1m 5s      -

TABLE  USED  CAPACITY  FULL  EVICTED
flows  1200    262144    0%        0

COUNTER       VALUE
active_flows   1200
slow_packets     17
`,
  },
  hosts: {
    code: 3,
    stderr: 'warning: host h2 (10.10.0.32) is dead\n',
    stdout: `HOST  ADDRESS     STATE  CAPACITY  FLOWS  CONNECTIONS  PKT/S  BYTE/S  CONN/S  SERVICES
h1    10.10.0.31  alive        50     12          340   1235    1.2M      13  web,dns
h2    10.10.0.32  dead          0      0            0      -       -       -  -
`,
  },
  vips: {
    code: 0,
    stderr: '',
    stdout: `SERVICE  VIP        PORT  PROTOCOL  HOLDER  HOSTS  LIVE  READY  CLIENTS  FLOWS  CONNECTIONS  PKT/S  BYTE/S  CONN/S
web      10.99.0.1    80  tcp       routed      2     1      1        7     12          340   1235    1.2M      13
`,
  },
  flows: {
    code: 0,
    stderr: '1 of 2 flows; --limit shows more\n',
    stdout: `PROTOCOL  CLIENT           VIP           HOST  IDENTIFIER  STATE        PLUMBED  ORIGIN  SLOW  IDLE
tcp       10.20.0.5:40000  10.99.0.1:80  h1    0100002a    established  yes      chosen     1  2.5s
`,
  },
  apps: {
    code: 0,
    stderr: '',
    stdout: `connections  340
CPU          42%
memory       1.2 GB used, 2.8 GB free
bandwidth    92.0 Mbit/s used, 908.0 Mbit/s free

PROTOCOL  ADDRESS       SERVICES  PROCESS  PID  UNIT           NAMESPACE  QUEUE
tcp       0.0.0.0:80    web       nginx    812  nginx.service  -          3/511
udp       10.99.0.1:53  dns       -          -  -              -              -

PID  PROCESS  UNIT             CPU   MEMORY  CONNECTIONS
812  nginx    nginx.service  12.5%  48.2 MB          338
`,
  },
  drops: {
    code: 0,
    stderr: '',
    stdout: `NUMBER  WHERE   COUNT  REASON              HINT
     3  kernel      9  unknown identifier  is the forwarder a peer?
`,
  },
}

it('text: data on standard output, the rest on standard error', async () => {
  await Promise.all(
    Object.entries(GOLDEN).map(async ([noun, expected]) => {
      const { code, stdout, stderr } = await shunt([noun], env)
      assert.is(stdout, expected.stdout)
      assert.equal({ code, stderr }, { code: expected.code, stderr: expected.stderr }, noun)
    }),
  )
})

it('--json prints the envelope, with the same exit code', async () => {
  await Promise.all(
    Object.entries(GOLDEN).map(async ([noun, expected]) => {
      const { code, stdout } = await shunt([noun, '--json'], env)
      const { schema, node, data } = JSON.parse(stdout)
      assert.equal(
        { schema, node, data },
        { schema: `shunt.${noun}/1`, node: 'f1', data: view.data[noun as 'status'] },
      )
      assert.is(code, expected.code)
    }),
  )
})

it('status -o wide says who leads the group of hosts', async () => {
  const { status } = view.data
  const group = { index: 0, members: ['h1', 'h2', 'h3', 'h4'], leader: 'h3', generation: 2, sinceMs: 65_000 }
  const lines = async (change: object): Promise<string[]> => {
    view.data.status = { ...status, ...change }
    const { stdout } = await shunt(['status', '-o', 'wide'], env)
    return stdout.split('\n').filter(line => line.startsWith('group:'))
  }
  try {
    assert.equal(await lines({ group }), ['group: h1 h2 h3 h4, led by h3 for 1m 5s'])
    assert.equal(await lines({ group: { ...group, leader: null } }), [
      'group: h1 h2 h3 h4, electing a leader',
    ])
    // Few hosts, and an agent that does not know of it.
    assert.equal(await lines({ group: null }), [])
    assert.equal(await lines({ group: undefined }), [])
  } finally {
    view.data.status = status
  }
})

it('hosts -o wide: the cache of a unit, and its own table where there is none', async () => {
  const wide = await shunt(['hosts', '-o', 'wide'], env)
  assert.equal(wide, {
    code: 3,
    stderr:
      'warning: dns on h1 is failing; shunt hosts -o wide --node h1 says why\nwarning: no host of dns takes new connections (h1: failing)\n',
    stdout: `HOST  SERVICE  VIP           HEALTH   LOAD  CAPACITY  TARGET    CURRENT  CAUSE    VIA  LEASE  SHARE
h1    web      10.99.0.1:80  healthy   35%        50  active    active   default  h3    2.4s   100%
h1    dns      10.99.0.1:53  failing    0%        50  draining  active   health   h3    2.4s     0%
h2    -        -             -           -         -  -         -        -        -     over      -
`,
  })
  const json = await shunt(['hosts', '--output=wide', '--json'], env)
  assert.is(json.code, 3)
  assert.equal(JSON.parse(json.stdout).data, HEALTH)
  const [h1] = HEALTH.cache!
  const own = {
    generation: 7,
    group: 0,
    leader: null,
    rows: [{ ...h1!.rows[0]!, why: '', whenFailing: 'draining' as const, waiting: null }],
  }
  view.data.health = { group: null, own, cache: null, shares: null, absent: [], servers: [] }
  const host = await shunt(['hosts', '-o', 'wide'], env)
  view.data.health = { group: null, own: null, cache: null, shares: null, absent: [], servers: [] }
  const neither = await shunt(['hosts', '-o', 'wide'], env)
  view.data.health = {
    ...HEALTH,
    cache: [{ ...h1!, leaseMs: 0, rows: [h1!.rows[0]!] }],
    shares: [
      {
        service: 'web',
        scheme: 'hash',
        panic: true,
        overload: false,
        hosts: [{ host: 'h1', percent: 100 / 3, slowStartMs: 0 }],
      },
    ],
  }
  const over = await shunt(['hosts', '-o', 'wide'], env)
  view.data.health = HEALTH
  assert.is(host.code, 0)
  assert.match(
    host.stdout,
    /\nh1 +web +10\.99\.0\.1:80 +healthy +35% +50 +active +active +default +- +- +-\n$/,
  )
  assert.match(neither.stderr, /neither a host nor a load balancing unit/)
  assert.is(over.code, 3)
  assert.match(over.stdout, / over +33\.3%\n$/)
  assert.match(over.stdout, /\nh1 +web +10\.99\.0\.1:80 +- +- +50 +- +- +- /, 'what was told last is no fact')
  assert.is(
    over.stderr,
    `warning: the lease of h1 is over: it gets no new connections
warning: only failing hosts are left of web; they are used all the same
`,
  )
})

it('hosts -o wide: hosts of a service that fail are told of together, and why where that is known', async () => {
  const row = { ...HEALTH.cache![0]!.rows[0]!, health: 'failing' } as const
  const table = { generation: 7, inForce: 7, leaseMs: 2400, via: null }
  const names = ['h1', 'h2', 'h3', 'h4', 'h5', 'h6']
  const cache = names.map(host => ({ ...table, host, rows: [{ ...row, host }] }))
  const more = { whenFailing: 'draining' as const, waiting: null }
  const own = { generation: 7, group: 0, leader: null, rows: [{ ...row, ...more, why: 'refused' }] }
  const failing = async (change: Partial<typeof HEALTH>): Promise<string> => {
    view.data.health = { ...HEALTH, shares: null, cache, ...change }
    const { stderr } = await shunt(['hosts', '-o', 'wide'], env)
    view.data.health = HEALTH
    return stderr
  }
  assert.is(
    await failing({}),
    'warning: web on h1, h2, h3, h4 and 2 more is failing; shunt hosts -o wide --node h1 says why\n',
  )
  assert.is(await failing({ own, cache: null }), 'warning: web on h1 is failing: refused\n')
  assert.is(
    await failing({
      cache: cache.map(each => ({
        ...each,
        rows: each.rows.map(one => ({ ...one, target: 'draining' as const, cause: 'order' as const })),
      })),
      shares: [{ service: 'web', scheme: 'hash', panic: false, overload: false, hosts: [] }],
    }),
    `warning: web on h1, h2, h3, h4 and 2 more is failing; shunt hosts -o wide --node h1 says why
warning: no host of web takes new connections (h1, h2, h3, h4 and 2 more: draining by order, shunt undrain ends it)
`,
  )
})

it('drops says where else to look, and nodes which orders are in force', async () => {
  const nodes = NODES.nodes.map(node =>
    node.self ? { ...node, roles: ['forwarder'] } : { ...node, roles: ['classifier'] },
  )
  view.data.status = { ...STATUS, roles: ['forwarder'] }
  view.data.nodes = { ...NODES, nodes }
  const drops = await shunt(['drops'], env)
  const json = await shunt(['drops', '--json'], env)
  const order = { app: 'web', state: 'draining', revision: 1 } as const
  view.data.nodes = {
    ...NODES,
    nodes: NODES.nodes.slice(0, 1).map(node => ({ ...node, directives: [order] })),
  }
  const ordered = await shunt(['nodes'], env)
  view.data.status = STATUS
  view.data.nodes = NODES
  assert.is(
    drops.stderr,
    'f1 is no classifier: packets of services are dropped at a classifier too: shunt drops --node h1 (and at h2)\n',
  )
  assert.is(json.stderr, '')
  assert.is(ordered.stderr, 'f1/web is draining by order; shunt undrain f1/web ends it\n')
})

it('hosts -o wide: what should listen and does not, and what nobody misses', async () => {
  const row = { ...HEALTH.cache![0]!.rows[0]!, health: 'healthy' } as const
  const gone = { service: 'web', vip: '10.99.0.1:80', protocol: 'tcp', capacity: 50 } as const
  const absent = [
    { ...gone, host: 'h1', order: null },
    { ...gone, host: 'h2', order: 'draining' as const },
  ]
  const table = { generation: 7, inForce: 7, leaseMs: 2400, via: null }
  const spread = { service: 'web', scheme: 'hash', panic: false, overload: false }
  view.data.health = {
    ...{ ...HEALTH, absent },
    cache: [
      { ...table, host: 'h1', rows: [] },
      { ...table, host: 'h2', rows: [] },
      { ...table, host: 'h3', rows: [{ ...row, host: 'h3' }] },
    ],
    shares: [{ ...spread, hosts: [{ host: 'h3', percent: 100, slowStartMs: 0 }] }],
  }
  const one = await shunt(['hosts', '-o', 'wide'], env)
  view.data.health = {
    ...view.data.health,
    cache: [
      ...view.data.health.cache!.slice(0, 2),
      { ...table, host: 'h3', rows: [{ ...row, host: 'h3', target: 'draining', cause: 'order' }] },
    ],
    shares: [{ ...spread, hosts: [] }],
  }
  const none = await shunt(['hosts', '-o', 'wide'], env)
  const own = { generation: 7, group: 0, leader: null, rows: [] }
  view.data.health = { group: null, own, cache: null, shares: null, absent: [absent[0]!], servers: [] }
  const host = await shunt(['hosts', '-o', 'wide'], env)
  view.data.health = {
    group: null,
    own,
    cache: null,
    shares: null,
    absent: [{ ...absent[0]!, capacity: 0 }],
    servers: [],
  }
  const spare = await shunt(['hosts', '-o', 'wide'], env)
  view.data.health = HEALTH
  const warning =
    'warning: nothing listens for web on h1: start its application there, at tcp 10.99.0.1:80 or any address (shunt apps --node h1 shows what listens)\n'
  assert.equal(one, {
    code: 3,
    stderr: `nothing listens for web on h2, which is draining by order; shunt undrain ends it\n${warning}`,
    stdout: `HOST  SERVICE  VIP           HEALTH   LOAD  CAPACITY  TARGET    CURRENT  CAUSE    VIA     LEASE  SHARE
h1    web      10.99.0.1:80  absent      -        50  -         -        -        direct   2.4s      -
h2    web      10.99.0.1:80  absent      -        50  draining  -        order    direct   2.4s      -
h3    web      10.99.0.1:80  healthy   35%        50  active    active   default  direct   2.4s   100%
`,
  })
  assert.is(
    none.stderr,
    `nothing listens for web on h2, which is draining by order; shunt undrain ends it\n${warning}warning: no host of web takes new connections (h3: draining by order, shunt undrain ends it; h1: nothing listens; h2: nothing listens, and it is draining)\n`,
  )
  assert.equal([host.code, host.stderr], [3, warning])
  assert.match(host.stdout, /\nh1 +web +10\.99\.0\.1:80 +absent +- +50( +-)+\n$/)
  assert.equal([spare.code, spare.stderr], [0, ''])
})

it('hosts -o wide: hosts that drain for overload, and those that are used all the same', async () => {
  const row = { ...HEALTH.cache![0]!.rows[0]!, load: 97, target: 'draining', cause: 'overload' } as const
  const rows = [row, { ...row, service: 'dns' }]
  const spread = { scheme: 'hash', panic: false, hosts: [{ host: 'h1', percent: 100, slowStartMs: 0 }] }
  view.data.health = {
    ...HEALTH,
    cache: [{ ...HEALTH.cache![0]!, rows }],
    shares: [
      { ...spread, service: 'web', overload: false },
      { ...spread, service: 'dns', overload: true },
    ],
  }
  const { code, stderr } = await shunt(['hosts', '-o', 'wide'], env)
  view.data.health = HEALTH
  assert.is(code, 0)
  assert.is(
    stderr,
    `warning: web on h1 is overloaded (load 97%): no new connections until its load falls
warning: only overloaded hosts are left of dns; they are used all the same, by capacity alone
`,
  )
})

it('vips: a service that no host takes connections for, and those that unhealthy hosts are used for', async () => {
  const [web] = VIPS.vips
  const of = (more: Partial<(typeof VIPS.vips)[number]>) => {
    view.data.vips = { vips: [{ ...web!, live: 2, ...more }] }
    return shunt(['vips'], env)
  }
  const none = await of({ ready: 0 })
  const failing = await of({ ready: 2, fallback: 'failing' })
  const overload = await of({ ready: 2, fallback: 'overload' })
  const noUnit = await of({ ready: null })
  const dead = await of({ ready: 0, live: 0 })
  view.data.vips = VIPS
  const told = [none, failing, overload, noUnit, dead].map(({ code, stderr }) => [code, stderr])
  assert.equal(told, [
    [3, 'warning: no host of web takes new connections; shunt hosts -o wide says why\n'],
    [3, 'warning: only failing hosts are left of web; they are used all the same\n'],
    [0, 'warning: only overloaded hosts are left of web; they are used all the same, by capacity alone\n'],
    [0, ''],
    [3, 'warning: no host of service web is alive\n'],
  ])
  assert.match(none.stdout, /\nweb .* 2 +2 +0 +7 +12 +340 +1235 +1\.2M +13\n$/)
  assert.match(noUnit.stdout, /\nweb .* 2 +2 +- +7 +12 +340 +1235 +1\.2M +13\n$/)
})

it('flows sends its query; --socket comes before SHUNT_SOCKET', async () => {
  view.queries.length = 0
  const args = ['flows', '--service', 'web', '--host=h1', '--client', '10.0.0.1', '--limit', '5']
  const { code } = await shunt([...args, '--socket', SHUNT_SOCKET], { SHUNT_SOCKET: '/nonexistent/x.sock' })
  assert.is(code, 0)
  assert.equal(view.queries, [{ limit: 5, service: 'web', host: 'h1', client: '10.0.0.1' }])
})

it('a query that the agent refuses is wrong usage', async () => {
  const { code, stderr } = await shunt(['flows', '--client', 'nobody'], env)
  assert.is(code, 2)
  assert.is(
    stderr,
    'error: client must be an address, or address:port\ncode: SHUNT_ERR_USAGE\nsee shunt flows --help\n',
  )
})

it('no agent: exit code 4 and what to do', async () => {
  const { code, stdout, stderr } = await shunt(['status', '--socket', '/nonexistent/x.sock', '--json'])
  assert.is(code, 4)
  assert.match(
    stderr,
    /^error: cannot reach an agent on \/nonexistent\/x\.sock: .* start it with .* --socket\ncode: SHUNT_ERR_CONTROL_UNREACHABLE\n$/,
  )
  const { schema, error } = JSON.parse(stdout)
  assert.is(schema, 'shunt.error/1')
  assert.is(error.code, 'SHUNT_ERR_CONTROL_UNREACHABLE')
})

it('--watch --json streams a line an envelope; Ctrl-C ends it with 130', async () => {
  const child = startShunt(['vips', '--watch', '--json', '--interval', '100'], env)
  const ended = collect(child)
  let lines = 0
  for await (const [chunk] of on(child.stdout!, 'data')) {
    lines += String(chunk).split('\n').length - 1
    if (lines >= 3) break
  }
  child.kill('SIGINT')
  const { code, stdout, stderr } = await ended
  assert.is(code, 130)
  assert.is(stderr, 'stopped watching; the agent goes on\n')
  const envelopes = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  assert.ok(envelopes.length >= 3)
  assert.ok(envelopes.every(e => e.schema === 'shunt.vips/1' && e.data.vips[0].service === 'web'))
})

it('--watch off a terminal prints again, without control characters', async () => {
  const child = startShunt(['drops', '--watch', '--interval', '100'], env)
  const ended = collect(child)
  let text = ''
  for await (const [chunk] of on(child.stdout!, 'data')) {
    text += chunk
    if (text.split('NUMBER').length > 2) break
  }
  child.kill('SIGINT')
  const { code, stdout } = await ended
  assert.is(code, 130)
  const look = (rate: string): string => `NUMBER  WHERE   PKT/S  COUNT  REASON              HINT
     3  kernel  ${rate.padStart(5)}      9  unknown identifier  is the forwarder a peer?
`
  assert.ok(stdout.startsWith(`${look('-')}\n${look('0')}`), stdout)
  assert.not.ok(stdout.includes('\x1b'))
})

it('drops --watch: while nothing was dropped it says so', async () => {
  const { drops } = view.data
  view.data.drops = { drops: [] }
  try {
    for (const flags of [[], ['--all']]) {
      const child = startShunt(['drops', '--watch', '--interval', '100', ...flags], env)
      const ended = collect(child)
      await once(child.stdout!, 'data')
      child.kill('SIGINT')
      const { code, stdout } = await ended
      assert.is(code, 130)
      assert.match(stdout, /^nothing was dropped yet\n/)
      assert.not.match(stdout, /NUMBER/)
    }
  } finally {
    view.data.drops = drops
  }
})

it('drops --all asks every node, and says which do not answer; --watch --json prints an object a look', async () => {
  view.remoteAnswer = undefined
  const text = await shunt(['drops', '--all'], env)
  assert.equal(text, {
    code: 0,
    stdout: `NODE  NUMBER  WHERE   COUNT  REASON              HINT
f1         3  kernel      9  unknown identifier  is the forwarder a peer?
`,
    stderr: 'warning: no answer of h1\nwarning: no answer of h2\n',
  })
  const child = startShunt(['drops', '-a', '--watch', '--json', '--interval', '100'], env)
  const ended = collect(child)
  let lines: string[] = []
  let all = ''
  for await (const [chunk] of on(child.stdout!, 'data')) {
    all += chunk
    lines = all.split('\n')
    if (lines.length > 2) break
  }
  child.kill('SIGINT')
  assert.is((await ended).code, 130)
  const [first, second] = lines.map(line => JSON.parse(line || 'null'))
  assert.is(first.schema, 'shunt.drops/1')
  assert.equal(
    first.data.missing.map((one: { node: string }) => one.node),
    ['h1', 'h2'],
  )
  assert.equal(
    [first, second].map(({ data }) => data.drops.map((d: Record<string, unknown>) => [d.node, d.perSecond])),
    [[['f1', null]], [['f1', 0]]],
  )
})

it('--watch --node goes on while the agent of that node is away', async () => {
  const other = { view: new FakeView(), node: 'h1', log: { error: () => {} } }
  view.remoteAnswer = await answerGet(other, '/v1/vips')
  const child = startShunt(['vips', '--watch', '--node', 'h1', '--json', '--interval', '100'], env)
  const ended = collect(child)
  await once(child.stdout!, 'data')
  const answer = view.remoteAnswer
  view.remoteAnswer = undefined
  const [warning] = await once(child.stderr!, 'data')
  assert.is(String(warning), 'warning: node h1 did not answer (still watching)\n')
  view.remoteAnswer = answer
  await once(child.stdout!, 'data')
  child.kill('SIGINT')
  assert.is((await ended).code, 130)
  view.remoteAnswer = undefined
})

it('--watch goes on while the agent is away, and fails at once if it never was there', async () => {
  assert.is((await shunt(['vips', '-w', '--socket', '/nonexistent/x.sock'])).code, 4)
  const socketPath = join(dir, 'second.sock')
  const start = () => startControlServer({ socketPath, view, node: 'f1', log: { error: () => {} } })
  let second = await start()
  const child = startShunt(['vips', '--watch', '--json', '--interval', '100', '--socket', socketPath])
  const ended = collect(child)
  await once(child.stdout!, 'data')
  await second.close()
  const [warning] = await once(child.stderr!, 'data')
  assert.match(String(warning), /^warning: cannot reach an agent on .* \(still watching\)\n$/)
  second = await start()
  await once(child.stdout!, 'data')
  child.kill('SIGINT')
  assert.is((await ended).code, 130)
  await second.close()
})

it('a reader that goes away ends it quietly', async () => {
  const child = startShunt(['flows', '--watch', '--json', '--interval', '100'], env)
  const ended = collect(child)
  await once(child.stdout!, 'data')
  child.stdout!.destroy()
  const { code, stderr } = await ended
  assert.is(code, 0)
  assert.is(stderr, '')
})

it('what comes from other machines cannot move the cursor', async () => {
  const evil = { ...HOSTS.hosts[0]!, name: 'h\x1b[2J1', address: 'a\nb' }
  const [hosts, flows, status] = [HOSTS.hosts.splice(0, 2, evil), FLOWS.flows.length, STATUS.peers.length]
  const { stdout } = await shunt(['hosts'], env)
  HOSTS.hosts.splice(0, 1, ...hosts)
  assert.match(stdout, /\nh1 +a b +alive/)
  assert.equal([flows, status, HOSTS.hosts.length], [1, 2, 2])
})

it.run()
