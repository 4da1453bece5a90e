import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type DocumentMember,
  documentProblems,
  documentWarnings,
  MAX_DOCUMENT_BYTES,
  parseDocument,
  servicesOf,
} from '../../../src/config/document.ts'
import { ShuntError } from '../../../src/errors.ts'

const GOOD = `version: 1
pools:
  - name: web
    hosts: [{ name: h1, capacity: 60 }, { name: h2 }]
services:
  - { name: http, vip: 10.99.0.1, port: 80, protocol: tcp, pool: web }
timeouts: { tcpIdle: 600000 }
`
const errorsOf = (text: string, members?: DocumentMember[]): string[] => {
  try {
    parseDocument(text, 'c.yaml', members)
  } catch (error) {
    assert.instance(error, ShuntError)
    assert.is((error as ShuntError).code, 'SHUNT_ERR_CONFIG')
    return (error as ShuntError).message.split('\n')
  }
  return []
}
const changed = (from: string | RegExp, to: string): string => {
  const text = GOOD.replace(from, to)
  assert.is.not(text, GOOD)
  return text
}
const member = (name: string, address: string, roles: string[], tunnel?: string): DocumentMember => ({
  name,
  address,
  roles,
  tunnel,
})
const MEMBERS = [
  member('f1', '10.10.0.11', ['forwarder', 'classifier'], '10.10.1.11'),
  member('h1', '10.10.0.31', ['host']),
  member('h2', '10.10.0.32', ['host']),
]

const it = suite('config/document')

it('a good document, with the defaults and nothing else', () => {
  const doc = parseDocument(GOOD, 'c.yaml')
  assert.equal(doc, {
    version: 1,
    pools: [
      {
        name: 'web',
        hosts: [
          { name: 'h1', capacity: 60 },
          { name: 'h2', capacity: 50 },
        ],
      },
    ],
    services: [{ name: 'http', vip: '10.99.0.1', port: 80, protocol: 'tcp', pool: 'web' }],
    timeouts: { tcpIdle: 600000 },
  })
  assert.equal(parseDocument(JSON.stringify(doc), 'c.json'), doc)
  assert.equal(parseDocument('version: 1', 'c.yaml'), { version: 1, pools: [], services: [], timeouts: {} })
})

it('services have the hosts of their pool, each a list of its own', () => {
  const [first, second] = servicesOf(
    parseDocument(
      `${GOOD.replace('timeouts', '  - { name: https, vip: 10.99.0.1, port: 443, protocol: tcp, pool: web }\ntimeouts')}`,
      'c.yaml',
    ),
  )
  assert.equal(first, {
    name: 'http',
    vip: '10.99.0.1',
    port: 80,
    protocol: 'tcp',
    hosts: [
      { name: 'h1', capacity: 60 },
      { name: 'h2', capacity: 50 },
    ],
  })
  assert.equal(second!.hosts, first!.hosts)
  assert.is.not(second!.hosts[0], first!.hosts[0])
})

it('rules that span several places are told together with wrong values, where they can be', () => {
  const text = changed(/port: 80.*\n/, 'port: 80000, protocol: tcp, pool: wbe }\n').replace(
    'timeouts',
    `  - { name: http, vip: 127.0.0.1, port: 443, protocol: tcp, pool: web, color: 1 }
  - { name: dns, vip: 10.99.0.1, port: 53, protocol: udp, pool: web, health: { type: tcp } }
  - { name: dns6, vip: 10.99.0.1, port: 53, protocol: udp, pool: web }
timeouts`,
  )
  assert.equal(errorsOf(text.replace('600000', '1000').replace('name: h2', 'name: h1')), [
    'c.yaml:4:49 pools[0].hosts[1].name: host h1 is already used at pools[0].hosts[0].name',
    'c.yaml:6:41 services[0].port: must be at most 65535',
    'c.yaml:6:69 services[0].pool: there is no pool wbe (did you mean "web"?)',
    'c.yaml:7:13 services[1].name: service name http is already used at services[0].name',
    'c.yaml:7:24 services[1].vip: 127.0.0.1 is a loopback address, which other machines cannot reach',
    'c.yaml:7:72 services[1].color: unknown key',
    'c.yaml:8:78 services[2].health: the service is of UDP, which tcp cannot connect to; give port, a TCP port of the application, or the type exec',
    'c.yaml:9:5 services[3]: virtual IP, port and protocol 10.99.0.1:53/udp is already used at services[2]',
    'c.yaml:10:11 timeouts.routeLease: is 60000 and must be at most half of timeouts.tcpIdle (1000)',
  ])
})

it('what depends on a wrong value is not guessed at', () => {
  // The pool may be the one that is meant.
  assert.equal(errorsOf(changed('name: web', 'name: Web')), [
    'c.yaml:3:11 pools[0].name: must be 1 to 63 of a-z, 0-9 and -',
  ])
  for (const pools of ['{}', '7', '[~]', '[[]]', '[{ hosts: 1 }]'])
    assert.not.match(
      errorsOf(changed(/pools:.*services:/s, `pools: ${pools}\nservices:`)).join('\n'),
      /there is no pool|already used/,
    )
  // Whether it is announced as the others is not known.
  const two = GOOD.replace(
    'timeouts',
    '  - { name: tls, vip: 10.99.0.1, port: 443, protocol: tcp, pool: web, announce: arpp }\ntimeouts',
  ).replace('pool: web }', 'pool: web, announce: arp }')
  assert.equal(
    errorsOf(two).map(line => line.split(' ')[1]),
    ['services[1].announce:'],
  )
})

it('every error, with its place', () => {
  const cases: [string | RegExp, string, string[]][] = [
    ['version: 1', 'version: 2', ['c.yaml:1:10 version: must be 1, not the number 2']],
    [
      'version: 1',
      'version: 1\noverload: { forMs: 20s }',
      [
        'c.yaml:2:20 overload.forMs: must be a number, not the string "20s"; times are in milliseconds, without a unit: 20000',
      ],
    ],
    ['version: 1\n', '', ['c.yaml:1:1 version: is required']],
    ['name: web', 'name: Web', ['c.yaml:3:11 pools[0].name: must be 1 to 63 of a-z, 0-9 and -']],
    ['capacity: 60', 'capacity: 100', ['c.yaml:4:35 pools[0].hosts[0].capacity: must be at most 99']],
    [
      '[{ name: h1, capacity: 60 }, { name: h2 }]',
      '[]',
      ['c.yaml:4:12 pools[0].hosts: must have at least 1 entry'],
    ],
    [
      'name: h2 }',
      'name: h1 }',
      ['c.yaml:4:49 pools[0].hosts[1].name: host h1 is already used at pools[0].hosts[0].name'],
    ],
    [
      'pool: web }',
      'pool: wbe }',
      ['c.yaml:6:66 services[0].pool: there is no pool wbe (did you mean "web"?)'],
    ],
    ['vip: 10.99.0.1', 'vip: 224.0.0.1', ['c.yaml:6:24 services[0].vip: 224.0.0.1 is not a unicast address']],
    [
      'vip: 10.99.0.1',
      'vip: 127.8.0.1',
      ['c.yaml:6:24 services[0].vip: 127.8.0.1 is a loopback address, which other machines cannot reach'],
    ],
    [
      'vip: 10.99.0.1',
      'vip: 169.254.3.1',
      ['c.yaml:6:24 services[0].vip: 169.254.3.1 is a link-local address, which no router carries'],
    ],
    ['port: 80,', 'port: 0,', ['c.yaml:6:41 services[0].port: must be at least 1']],
    ['pool: web }', 'pools: web }', ['services[0].pool: is required', 'services[0].pools: unknown key']],
    [
      'tcpIdle: 600000',
      'tcpIdle: 100000',
      ['c.yaml:7:11 timeouts.routeLease: is 60000 and must be at most half of timeouts.tcpIdle (100000)'],
    ],
    [
      'tcpIdle: 600000',
      'tcpidle: 600000',
      ['c.yaml:7:13 timeouts.tcpidle: unknown key (did you mean "tcpIdle"?)'],
    ],
    [
      'timeouts:',
      '  - { name: http, vip: 10.99.0.1, port: 80, protocol: tcp, pool: web }\ntimeouts:',
      [
        'c.yaml:7:5 services[1]: virtual IP, port and protocol 10.99.0.1:80/tcp is already used at services[0]',
        'c.yaml:7:13 services[1].name: service name http is already used at services[0].name',
      ],
    ],
    [
      'services:',
      '  - { name: web, hosts: [{ name: h3 }] }\nservices:',
      ['c.yaml:5:13 pools[1].name: pool name web is already used at pools[0].name'],
    ],
  ]
  for (const [from, to, expected] of cases) {
    const got = errorsOf(changed(from, to))
    assert.is(got.length, expected.length, got.join('\n'))
    expected.forEach((line, i) => {
      assert.ok(got[i]!.includes(line), `${got[i]} should be ${line}`)
    })
  }
})

it('caps: bytes, pools, services, hosts of a pool and of all pools', () => {
  assert.match(errorsOf(`${GOOD}# ${'x'.repeat(MAX_DOCUMENT_BYTES)}`)[0]!, /has \d+ bytes.*at most 131072/)
  const pool = (name: string, from: number, to: number): object => ({
    name,
    hosts: Array.from({ length: to - from }, (_, i) => ({ name: `h${from + i}` })),
  })
  const of = (pools: object[], services: object[] = []): string =>
    JSON.stringify({ version: 1, pools, services })
  assert.equal(errorsOf(of([pool('a', 0, 200), pool('b', 100, 255)])), [])
  assert.match(errorsOf(of([pool('a', 0, 200), pool('b', 100, 256)]))[0]!, /is host number 256/)
  assert.match(errorsOf(of([pool('a', 0, 256)]))[0]!, /pools\[0\]\.hosts: must have at most 255/)
  const pools = Array.from({ length: 257 }, (_, i) => pool(`p${i}`, 0, 1))
  assert.match(errorsOf(of(pools))[0]!, /pools: must have at most 256/)
  assert.equal(errorsOf(of(pools.slice(1))), [])
  const service = (i: number): object => ({
    name: `s${i}`,
    vip: '10.9.0.1',
    port: i + 1,
    protocol: 'tcp',
    pool: 'a',
  })
  const services = Array.from({ length: 1_025 }, (_, i) => service(i))
  assert.match(errorsOf(of([pool('a', 0, 1)], services))[0]!, /services: must have at most 1024/)
  assert.equal(errorsOf(of([pool('a', 0, 1)], services.slice(1))), [])
})

it('hostile texts: a clear error, in bounded time', () => {
  for (const text of [
    '['.repeat(100_000),
    '{a: '.repeat(30_000),
    `${'- '.repeat(60_000)}x`,
    '__proto__: { version: 1 }',
    '!!binary aaaa',
    '? [a]\n: 1',
    '',
    '\u0000',
    '1',
    '[]',
  ]) {
    const startMs = performance.now()
    assert.ok(errorsOf(text).length > 0, text.slice(0, 20))
    assert.ok(performance.now() - startMs < 5_000, text.slice(0, 20))
  }
})

it('any text parses or gives an error of the configuration', () => {
  const words = fc.constantFrom(...GOOD.split(/(?<=[ \n])|(?=[ \n:{}[\],])/), '*a ', '&a ', '<<', '"', '|\n')
  fc.assert(
    fc.property(fc.array(words, { maxLength: 60 }), parts => {
      errorsOf(parts.join(''))
    }),
    { numRuns: 300 },
  )
})

it('a virtual IP that is an address of a node is an error, with its place', () => {
  assert.equal(errorsOf(GOOD, MEMBERS), [])
  for (const [vip, whose] of [
    ['10.10.0.31', 'the address of h1'],
    ['10.10.1.11', 'the tunnel address of f1'],
  ])
    assert.equal(errorsOf(changed('10.99.0.1', vip!), MEMBERS), [
      `c.yaml:6:24 services[0].vip: ${vip} is ${whose}; a virtual IP must be its own`,
    ])
  assert.equal(documentProblems(parseDocument(GOOD, 'c.yaml'), MEMBERS), [])
})

it('an IPv6 virtual IP needs IPv6 addresses of its hosts and of all forwarders', () => {
  const text = changed('10.99.0.1', 'fd99::1')
  assert.equal(errorsOf(text), [], 'by itself it is right')
  const six = (m: DocumentMember, ...fields: ('address6' | 'tunnel6')[]): DocumentMember => ({
    ...m,
    ...Object.fromEntries(fields.map(field => [field, `fd00:${field === 'tunnel6' ? 1 : 0}::${m.name}`])),
  })
  const [f1, h1, h2] = MEMBERS as [DocumentMember, DocumentMember, DocumentMember]
  const all = [six(f1, 'address6', 'tunnel6'), six(h1, 'address6'), six(h2, 'address6')]
  assert.equal(errorsOf(text, all), [])
  const end = 'let them leave and join again with one, or take hosts out of the pool'
  assert.equal(errorsOf(text, [all[0]!, h1, h2]), [
    `c.yaml:6:24 services[0].vip: fd99::1 is of IPv6, but h1, h2 have no IPv6 address in the cluster (--address6 of shunt join): ${end}`,
  ])
  assert.equal(errorsOf(text, [six(f1, 'address6'), ...all.slice(1)]), [
    `c.yaml:6:24 services[0].vip: fd99::1 is of IPv6, but f1 has no IPv6 tunnel address (--tunnel6 of shunt join): ${end}`,
  ])
  const outside = { ...h2, name: 'h3' }
  assert.equal(errorsOf(text, [...all, outside]), [], 'a host of no pool of it is not asked')
})

it('warnings: hosts that cannot take connections, and pools of no use', () => {
  const warningsOf = (text: string, members = MEMBERS): string[] =>
    documentWarnings(parseDocument(text, 'c.yaml'), members)
  assert.equal(warningsOf(GOOD), [])
  assert.equal(warningsOf(changed('name: h2', 'name: hh2')), [
    'host hh2 of pool web is no member of the cluster (did you mean "h2"?)',
  ])
  assert.equal(
    warningsOf(changed('{ name: h2 }', '{ name: h2 }, { name: h3 }')),
    ['host h3 of pool web is no member of the cluster'],
    'those that are in the pool are not what was meant',
  )
  assert.equal(warningsOf(changed('name: h2', 'name: f1')), [
    'f1 of pool web does not have the role host; shunt roles f1 +host gives it',
  ])
  assert.equal(warningsOf(GOOD, []), [
    'host h1 of pool web is no member of the cluster',
    'host h2 of pool web is no member of the cluster',
    'no host of the pool web can take connections',
  ])
  assert.equal(warningsOf(changed('services:', '  - { name: b, hosts: [{ name: h1 }] }\nservices:')), [
    'no service uses the pool b',
  ])
  assert.equal(warningsOf(changed('capacity: 60 }, { name: h2 }', 'capacity: 0 }')), [
    'every host of the pool web has capacity 0: it takes no new connections',
  ])
})

it('warns of more copies than other forwarders and classifiers', () => {
  const copies = (wanted: number | string, members: DocumentMember[]): string[] =>
    documentWarnings(
      parseDocument(changed('pool: web }', `pool: web, sessions: { copies: ${wanted} } }`), 'c.yaml'),
      members,
    )
  const three = [
    ...MEMBERS,
    member('f2', '10.10.0.12', ['forwarder'], '10.10.1.12'),
    member('c1', '10.10.0.21', ['classifier']),
  ]
  assert.equal(copies(5, three), [
    'http asks for 5 copies (sessions.copies); with 3 forwarders and classifiers there can be 2',
  ])
  assert.equal(copies(1, MEMBERS), [
    'http asks for 1 copy (sessions.copies); with 1 forwarder or classifier there can be 0',
  ])
  for (const fits of [0, 2, 'full', 'none']) assert.equal(copies(fits, three), [], `${fits}`)
})

it('a text with thousands of faults costs little and is answered with a few of them', () => {
  const pool = (i: number) =>
    `  - { name: p${i}, hosts: [${Array.from({ length: 255 }, (_, j) => `{name: name-of-a-host-${j}}`).join()}] }\n`
  const text = `version: 1\npools:\n${Array.from({ length: 18 }, (_, i) => pool(i)).join('')}`
  const hosts = Array.from({ length: 255 }, (_, i) => member(`name-of-a-node-${i}`, '10.1.0.1', ['host']))
  const warnings = documentWarnings(parseDocument(text, 'c.yaml'), hosts)
  assert.is(warnings.length, 51)
  assert.match(warnings[0]!, /name-of-a-host-0 of pool p0 is no member.*did you mean "name-of-a-node-0"/)
  assert.is(warnings[50], `and ${18 * 256 - 50} more warnings`)
})

it('the same text is read once, and what was read cannot be changed', () => {
  const doc = parseDocument(GOOD, 'c.yaml')
  assert.is(parseDocument(GOOD, 'other.yaml', MEMBERS), doc)
  assert.throws(() => doc.pools[0]!.hosts.pop())
  // What is wrong for these members is said nevertheless.
  assert.is(errorsOf(GOOD, [member('h1', '10.99.0.1', ['host'])]).length, 1)
  assert.is.not(parseDocument(`${GOOD}# more\n`, 'c.yaml'), doc)
})

it.run()
