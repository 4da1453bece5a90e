import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { loadNodeConfig, parseNodeConfig } from '../../../src/config/load.ts'
import { ShuntError } from '../../../src/errors.ts'

const H1 = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
const F2 = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'

const GOOD = `version: 1
node:
  name: f1
  identityFile: /etc/shunt/identity.key
roles: [forwarder, classifier]
interfaces: { uplink: [eth0], cluster: [eth0] }
addresses:
  cluster: 10.10.0.11
  tunnel: 10.10.1.11
cluster:
  secrets: [{ number: 1, file: /etc/shunt/cluster.secret }]
peers:
  - { name: h1, id: ${H1}, roles: [host], address: 10.10.0.31 }
  - { name: f2, id: ${F2}, roles: [forwarder], address: 10.10.0.12, tunnel: 10.10.1.12 }
services:
  - name: web
    vip: 10.99.0.1
    port: 80
    protocol: tcp
    hosts: [{ name: h1, capacity: 50 }]
`

const errorsOf = (text: string): string[] => {
  try {
    parseNodeConfig(text, 'n.yaml')
  } catch (error) {
    assert.instance(error, ShuntError)
    assert.is((error as ShuntError).code, 'SHUNT_ERR_CONFIG')
    return (error as ShuntError).message.split('\n')
  }
  return []
}
/** GOOD with one change that must apply. */
const changed = (from: string | RegExp, to: string): string => {
  const text = GOOD.replace(from, to)
  assert.is.not(text, GOOD)
  return text
}

const it = suite('config/load')

it('a good file, with the defaults', () => {
  const config = parseNodeConfig(GOOD, 'n.yaml')
  assert.is(config.node.stateDir, '/var/lib/shunt')
  assert.is(config.node.controlSocket, '/run/shunt/control.sock')
  assert.is(config.cluster.controlPort, 6780)
  assert.is(config.cluster.mappingPort, 6781)
  assert.equal(config.limits, {
    flows: 262144,
    embryonicFlows: 16384,
    mappings: 262144,
    heldPackets: 4096,
    atoms: 1_000_000,
    affinity: 65_536,
  })
  assert.equal(config.timeouts, {
    embryonic: 10000,
    tcpIdle: 900000,
    udpIdle: 60000,
    linger: 30000,
    quarantine: 60000,
    routeLease: 60000,
    drain: 10000,
    unattended: 30000,
    vipHold: 60000,
  })
  assert.equal(config.log, { level: 'info' })
  assert.is(config.services[0]?.hosts[0]?.capacity, 50)
})

it('the same as JSON', () => {
  const config = parseNodeConfig(GOOD, 'n.yaml')
  assert.equal(parseNodeConfig(JSON.stringify(config), 'n.json'), config)
})

it('every single error, with its place', () => {
  const cases: [string | RegExp, string, string[]][] = [
    ['version: 1', 'version: 2', ['n.yaml:1:10 version: must be 1, not the number 2']],
    ['version: 1\n', '', ['n.yaml:1:1 version: is required']],
    ['name: f1', 'name: F_1', ['n.yaml:3:9 node.name: must be 1 to 63 of a-z, 0-9 and -']],
    [
      'name: f1',
      'nmae: f1',
      ['n.yaml:3:3 node.name: is required', 'n.yaml:3:3 node.nmae: unknown key (did you mean "name"?)'],
    ],
    ['/etc/shunt/identity.key', 'identity.key', ['n.yaml:4:17 node.identityFile: must be an absolute path']],
    [
      '[forwarder, classifier]',
      '[forwader, classifier]',
      [
        'n.yaml:5:9 roles[0]: must be one of forwarder, classifier, host, not the string "forwader" (did you mean "forwarder"?)',
      ],
    ],
    ['[forwarder, classifier]', '[]', ['n.yaml:5:8 roles: must have at least 1 entry']],
    [
      '[forwarder, classifier]',
      'forwarder',
      ['n.yaml:5:8 roles: must be a list, not the string "forwarder"'],
    ],
    [
      '[eth0], cluster',
      '[eth0/1], cluster',
      ['n.yaml:6:24 interfaces.uplink[0]: must be the name of a network interface (1 to 15 characters)'],
    ],
    [
      'cluster: 10.10.0.11',
      'cluster: 10.10.0.256',
      ['n.yaml:8:12 addresses.cluster: must be an IPv4 address such as 10.10.0.11'],
    ],
    [
      'cluster: 10.10.0.11',
      'cluster: fd00::1',
      [
        'n.yaml:8:12 addresses.cluster: must be an IPv4 address, also where services are of IPv6; an IPv6 one goes beside it (cluster6 and tunnel6 of addresses, address6 and tunnel6 of a peer)',
      ],
    ],
    ['number: 1', 'number: 256', ['n.yaml:11:23 cluster.secrets[0].number: must be at most 255']],
    [
      'number: 1',
      'number: one',
      ['n.yaml:11:23 cluster.secrets[0].number: must be a number, not the string "one"'],
    ],
    [
      'number: 1',
      'number: 1.5',
      ['n.yaml:11:23 cluster.secrets[0].number: must be a whole number, not the number 1.5'],
    ],
    [
      H1,
      '12D3KooWabc',
      [
        'n.yaml:13:21 peers[0].id: must be a peer id (52 characters that begin with 12D3KooW; shunt keygen prints it)',
      ],
    ],
    [
      'vip: 10.99.0.1',
      'vip: fe80::1%eth0',
      [
        'n.yaml:17:10 services[0].vip: must have no zone (% and what follows), which means nothing to other machines',
      ],
    ],
    [
      'vip: 10.99.0.1',
      'vip: fd00:1',
      ['n.yaml:17:10 services[0].vip: must be an IP address such as 192.0.2.10 or 2001:db8::10'],
    ],
    [
      'tunnel: 10.10.1.11',
      'tunnel: 10.10.1.11\n  cluster6: 10.10.2.11',
      ['n.yaml:10:13 addresses.cluster6: must be an IPv6 address such as fd00::11'],
    ],
    ['port: 80', 'port: 0', ['n.yaml:18:11 services[0].port: must be at least 1']],
    [
      'protocol: tcp',
      'protocol: icmp',
      ['n.yaml:19:15 services[0].protocol: must be one of tcp, udp, not the string "icmp"'],
    ],
    ['capacity: 50', 'capacity: 100', ['n.yaml:20:35 services[0].hosts[0].capacity: must be at most 99']],
    [/$/, 'limits: { flow: 100 }\n', ['n.yaml:21:11 limits.flow: unknown key (did you mean "flows"?)']],
    [/$/, 'timeouts: { embryonic: 1 }\n', ['n.yaml:21:24 timeouts.embryonic: must be at least 100']],
    [
      /$/,
      'log: { level: verbose }\n',
      [
        'n.yaml:21:15 log.level: must be one of trace, debug, info, warn, error, fatal, silent, not the string "verbose"',
      ],
    ],
    [/$/, 'qqq: 1\n', ['n.yaml:21:1 qqq: unknown key']],
  ]
  for (const [from, to, expected] of cases) assert.equal(errorsOf(changed(from, to)), expected)
})

it('every broken rule between places, with its place', () => {
  const cases: [string | RegExp, string, string[]][] = [
    [
      '\n  tunnel: 10.10.1.11',
      '',
      ['n.yaml:8:3 addresses: the role forwarder needs addresses.tunnel, an address used for nothing else'],
    ],
    [
      'uplink: [eth0], ',
      '',
      [
        'n.yaml:6:13 interfaces: the role forwarder needs interfaces.uplink, where packets for a virtual IP arrive',
      ],
    ],
    [
      ', tunnel: 10.10.1.12',
      '',
      ['n.yaml:14:5 peers[1]: f2 has the role forwarder and needs tunnel, its tunnel address'],
    ],
    [
      '[forwarder, classifier]',
      '[forwarder]',
      [
        'n.yaml:5:8 roles: there are forwarders but no classifier, here or among the peers; give a node the role classifier',
      ],
    ],
    [
      '[host]',
      '[host, host]',
      ['n.yaml:13:89 peers[0].roles[1]: role host is already used at peers[0].roles[0]'],
    ],
    ['name: f2', 'name: f1', ['n.yaml:14:13 peers[1].name: node name f1 is already used at node.name']],
    [F2, H1, [`n.yaml:14:21 peers[1].id: peer id ${H1} is already used at peers[0].id`]],
    [
      '10.10.1.12',
      '10.10.0.31',
      ['n.yaml:14:124 peers[1].tunnel: address 10.10.0.31 is already used at peers[0].address'],
    ],
    ['10.10.0.31', '224.0.0.1', ['n.yaml:13:99 peers[0].address: 224.0.0.1 is not a unicast address']],
    [
      'vip: 10.99.0.1',
      'vip: 10.10.1.12',
      [
        'n.yaml:17:10 services[0].vip: 10.10.1.12 is the address of a node (peers[1].tunnel); a virtual IP must be its own',
      ],
    ],
    [
      '{ name: h1, cap',
      '{ name: h2, cap',
      ['n.yaml:20:21 services[0].hosts[0].name: h2 is neither a peer nor this node (did you mean "h1"?)'],
    ],
    [
      '{ name: h1, cap',
      '{ name: f2, cap',
      ['n.yaml:20:21 services[0].hosts[0].name: f2 does not have the role host'],
    ],
    [
      '[{ name: h1, capacity: 50 }]',
      '[{ name: h1 }, { name: h1 }]',
      ['n.yaml:20:35 services[0].hosts[1].name: host h1 is already used at services[0].hosts[0].name'],
    ],
    [
      '[{ number: 1, file: /etc/shunt/cluster.secret }]',
      '[{ number: 1, file: /a }, { number: 1, file: /b }]',
      [
        'n.yaml:11:48 cluster.secrets[1].number: secret number 1 is already used at cluster.secrets[0].number',
      ],
    ],
    [
      /$/,
      '  - { name: web, vip: 10.99.0.1, port: 80, protocol: tcp, hosts: [{ name: h1 }] }\n',
      [
        'n.yaml:21:5 services[1]: virtual IP, port and protocol 10.99.0.1:80/tcp is already used at services[0]',
        'n.yaml:21:13 services[1].name: service name web is already used at services[0].name',
      ],
    ],
    [
      /$/,
      'timeouts: { tcpIdle: 100000, routeLease: 50001 }\n',
      ['n.yaml:21:42 timeouts.routeLease: is 50001 and must be at most half of timeouts.tcpIdle (100000)'],
    ],
  ]
  for (const [from, to, expected] of cases) assert.equal(errorsOf(changed(from, to)), expected)
})

it('IPv6: addresses that nobody can reach, and nodes without one, with their places', () => {
  const six = changed('tunnel: 10.10.1.11', 'tunnel: 10.10.1.11\n  cluster6: fd00::11\n  tunnel6: fd01::11')
    .replace('10.10.0.31 }', '10.10.0.31, address6: fd00::31 }')
    .replace('10.10.1.12 }', '10.10.1.12, address6: fd00::12, tunnel6: fd01::12 }')
    .replace('vip: 10.99.0.1', 'vip: fd99::1')
  assert.equal(errorsOf(six), [])
  const place = 'n.yaml:19:10 services[0].vip:'
  for (const [vip, why] of [
    ['::1', '::1 is a loopback address, which other machines cannot reach'],
    ['fe80::1', 'fe80::1 is a link-local address, which no router carries'],
    ['ff02::1', 'ff02::1 is not a unicast address'],
    ['"::"', ':: is not a unicast address'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1 is an IPv4 address in IPv6 clothes; write 10.0.0.1'],
    ['FD99::1', 'FD99::1 is not in its usual form; write fd99::1'],
    ['fd99:0:0::1', 'fd99:0:0::1 is not in its usual form; write fd99::1'],
    ['fd00::31', 'fd00::31 is the address of a node (peers[0].address6); a virtual IP must be its own'],
  ])
    assert.equal(errorsOf(six.replace('fd99::1', vip!)), [`${place} ${why}`], vip!)
  for (const [gone, why] of [
    [', address6: fd00::31', 'h1, a host, has no IPv6 address for it: give address6 among the peers'],
    [', tunnel6: fd01::12', 'f2, a forwarder, has no IPv6 address for it: give tunnel6 among the peers'],
  ])
    assert.equal(errorsOf(six.replace(gone!, '')), [`${place} fd99::1 is of IPv6, and ${why}`])
  assert.equal(errorsOf(six.replace('\n  tunnel6: fd01::11', '')), [
    'n.yaml:18:10 services[0].vip: fd99::1 is of IPv6, and f1, a forwarder, has no IPv6 address for it: give addresses.tunnel6',
  ])
  assert.equal(errorsOf(six.replace('\n  cluster6: fd00::11', '')), [
    "n.yaml:10:12 addresses.tunnel6: needs this node's own IPv6 address beside it (addresses.cluster6, or --address6)",
  ])
})

it('same VIP and port with another protocol, and a lease of exactly half, are fine', () => {
  const udp = '  - { name: dns, vip: 10.99.0.1, port: 80, protocol: udp, hosts: [{ name: h1 }] }\n'
  assert.equal(errorsOf(`${GOOD}${udp}timeouts: { tcpIdle: 100000, routeLease: 50000 }\n`), [])
})

it('all errors of a file at once, in its order', () => {
  const text = GOOD.replace('port: 80', 'port: 80000').replace('name: f1', 'name: F').replace('tcp', 'tpc')
  assert.equal(
    errorsOf(text).map(line => line.split(' ')[0]),
    ['n.yaml:3:9', 'n.yaml:18:11', 'n.yaml:19:15'],
  )
})

it('rules of services and of times are told together with wrong values elsewhere', () => {
  const more = `  - { name: http, vip: 10.99.0.1, port: 80, protocol: tcp, announce: arp, hosts: [{ name: h1 }] }
overload: { drain: 50, resume: 60 }
timeouts: { tcpIdle: 1000 }
`
  const places = (text: string): string[] => errorsOf(text).map(line => line.split(' ').slice(1).join(' '))
  const rules = places(`${GOOD}${more}`)
  assert.is(rules.length, 4)
  assert.equal(places(`${GOOD}${more}`.replace('name: f1', 'name: F')), [
    'node.name: must be 1 to 63 of a-z, 0-9 and -',
    ...rules,
  ])
})

it('text that is not YAML', () => {
  const [first] = errorsOf(changed('roles: [forwarder, classifier]', 'roles: [forwarder, classifier'))
  assert.match(first!, /^n\.yaml:6:\d+ not valid YAML: /)
  assert.match(
    errorsOf(`${GOOD}version: 1\n`)[0]!,
    /^n\.yaml:21:1 not valid YAML: the mapping has this key already/,
  )
  assert.equal(errorsOf('{ 1: a, "1": b, c: { d: &x 1, e: 2, d: 3 } }'), [
    'n.yaml:1:9 not valid YAML: the mapping has this key already; keep one of them',
    'n.yaml:1:37 not valid YAML: the mapping has this key already; keep one of them',
  ])
  assert.match(errorsOf('')[0]!, /^n\.yaml:1:1 the file is empty/)
  assert.equal(errorsOf('just words'), [
    'n.yaml:1:1 the document: must be a mapping, not the string "just words"',
  ])
  assert.match(errorsOf(`${GOOD}---\n${GOOD}`)[0]!, /not valid YAML/)
})

it('a mapping with very many keys costs in proportion to them', () => {
  const timed = (keys: number): number => {
    const text = `version: 1\n${Array.from({ length: keys }, (_, i) => `key${i}: 1\n`).join('')}`
    const startMs = performance.now()
    const errors = errorsOf(text)
    assert.is(errors.length, 51)
    assert.match(errors[50]!, /^n\.yaml: and \d+ more errors$/)
    return performance.now() - startMs
  }
  timed(1_500)
  const once = Math.min(timed(1_500), timed(1_500), timed(1_500))
  // Each key compared with every other: 256 times as long.
  assert.ok(timed(24_000) / once < 80)
})

it('a key is one line of a message, whatever it holds', () => {
  const errors = errorsOf('"a\\nn.yaml:9:9 services: fine\\e[2J": 1\nversion: 1\n')
  assert.is(errors.filter(line => line.startsWith('n.yaml:9:9')).length, 0)
  assert.is(
    errors.find(line => line.includes('fine')),
    'n.yaml:1:1 "a\\nn.yaml:9:9 services: fine\\u001b[2J": unknown key',
  )
})

it('values through anchors are placed where they stand; alias bombs are refused', () => {
  const text = changed('port: 80', 'port: &p 99999').replace('capacity: 50', 'capacity: *p')
  assert.equal(
    errorsOf(text).map(line => line.split(' ')[1]),
    ['services[0].port:', 'services[0].hosts[0].capacity:'],
  )
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]']
  for (const [k, prev] of ['ba', 'cb', 'dc', 'ed', 'fe'].map(s => [s[0], s[1]]))
    bomb.push(`${k}: &${k} [${Array.from({ length: 10 }, () => `*${prev}`).join(',')}]`)
  assert.match(
    errorsOf(bomb.join('\n'))[0]!,
    /^n\.yaml:1:1 not usable YAML: its aliases \(&, \*\) make too much of it/,
  )
})

it('files: read, missing, not text', () => {
  const dir = mkdtempSync(join(tmpdir(), 'shunt-config-'))
  try {
    writeFileSync(join(dir, 'good.yaml'), GOOD)
    assert.is(loadNodeConfig(join(dir, 'good.yaml')).node.name, 'f1')
    assert.throws(() => loadNodeConfig(join(dir, 'none.yaml')), /there is no file .*none\.yaml$/)
    writeFileSync(join(dir, 'binary.yaml'), Buffer.from([0xff, 0xfe, 0x00]))
    assert.throws(() => loadNodeConfig(join(dir, 'binary.yaml')), /cannot read .*binary\.yaml/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

it.run()
