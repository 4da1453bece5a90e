import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { composeConfig } from '../../../src/config/compose.ts'
import { parseDocument, servicesOf } from '../../../src/config/document.ts'
import { diffDocuments, renderChanges } from '../../../src/config/document-diff.ts'
import { choiceOf, whenFailingOf } from '../../../src/config/health-fields.ts'
import { loadNodeConfig, parseNodeConfig, parseNodeFile } from '../../../src/config/load.ts'
import { ShuntError } from '../../../src/errors.ts'
import { ROOT } from '../../support/cli.ts'

const it = suite('config/health')

const document = (more: string, protocol = 'tcp', top = ''): string =>
  `version: 1
pools: [{ name: web, hosts: [{ name: h1 }] }]
services:
  - name: http
    vip: 10.99.0.1
    port: 80
    protocol: ${protocol}
    pool: web
${more.replace(/^/gm, '    ')}
${top}`
const parse = (more: string, protocol?: string, top?: string) =>
  parseDocument(document(more, protocol, top), 'c.yaml')
const errorsOf = (...args: Parameters<typeof parse>): string[] => {
  try {
    parse(...args)
  } catch (error) {
    assert.instance(error, ShuntError)
    return (error as ShuntError).message.split('\n')
  }
  return []
}
const NODE = `version: 1
node: { name: n1, identityFile: /i }
interfaces: { cluster: [eth0] }
addresses: { cluster: 10.10.0.31 }
`
const STATIC = `${NODE}roles: [host]
cluster: { secrets: [{ number: 1, file: /s }] }
`

it('what a check leaves out has its default', () => {
  const [service] = servicesOf(parse('health: { type: http, path: /ready?x=1 }\nslowStart: 3000'))
  assert.equal(service!.health, {
    type: 'http',
    path: '/ready?x=1',
    interval: 2_000,
    timeout: 1_000,
    rise: 2,
    fall: 2,
    jitter: 0.1,
  })
  assert.is(service!.slowStart, 3_000)
  assert.is(service!.choice, undefined)
  assert.is(whenFailingOf(service!), 'draining')
  assert.is(parse('health: {}').services[0]!.health!.type, 'none')
})

it('a check of each type', () => {
  assert.equal(errorsOf('health: { type: tcp, port: 81 }'), [])
  assert.equal(
    errorsOf(`health: { type: http, host: 'web.example:80', status: [200, '301-302'], body: '/ok|ready/i' }`),
    [],
  )
  assert.equal(errorsOf('health: { type: https, status: 204, jitter: 0, interval: 100, timeout: 10 }'), [])
  assert.equal(errorsOf('health: { type: exec, command: [/usr/local/bin/check, --fast, ""] }', 'udp'), [])
  assert.equal(errorsOf('health: { type: tcp, port: 53 }', 'udp'), [])
  assert.equal(errorsOf('health: { type: none }', 'udp'), [])
})

it('what is wrong with a value is said at its place, with what is allowed', () => {
  const first = (more: string): string => errorsOf(more)[0] ?? ''
  assert.is(
    first('health: { type: htp }'),
    'c.yaml:9:21 services[0].health.type: must be one of none, tcp, http, https, exec, not the string "htp" (did you mean "http"?)',
  )
  assert.match(
    first('health: { typ: tcp }'),
    /^c\.yaml:9:15 services\[0\]\.health\.typ: unknown key \(did you mean "type"\?\)/,
  )
  const status =
    /services\[0\]\.health\.status: must be a status such as 200, a range such as 200-399, or a list/
  for (const bad of ['2xx', '600', '[200, "399-200"]', '[]', '{}', '[[200]]', 'true'])
    assert.match(first(`health: { type: http, status: ${bad} }`), status, bad)
  assert.match(
    first("health: { type: http, body: '/(/' }"),
    /health\.body: must be a text, or a regular expression between slashes: Invalid/,
  )
  assert.match(first("health: { type: http, body: '' }"), /health\.body: must have 1 to 1000 characters/)
  assert.match(
    first('health: { type: http, path: ready }'),
    /health\.path: must be a path that begins with \//,
  )
  assert.match(first('health: { type: http, path: "/a b" }'), /health\.path: must be a path/)
  assert.match(first('health: { type: http, host: "a\\r\\nx: y" }'), /health\.host: must be a host name/)
  assert.match(first('health: { type: tcp, interval: 99 }'), /health\.interval: must be at least 100/)
  assert.match(first('health: { type: tcp, jitter: 0.6 }'), /health\.jitter: must be at most 0\.5/)
  assert.match(first('health: { type: tcp, rise: 0 }'), /health\.rise: must be at least 1/)
  assert.match(
    first('choice: { scheme: random }'),
    /choice\.scheme: must be one of hash, percentages, tokens/,
  )
  assert.match(first('choice: { scheme: tokens, tokens: 9 }'), /choice\.tokens: must be at least 10/)
  assert.match(first('whenFailing: active'), /services\[0\]\.whenFailing: /)
  assert.match(first('slowStart: -1'), /services\[0\]\.slowStart: must be at least 0/)
})

it('values that do not go together', () => {
  assert.equal(errorsOf('health: { type: tcp, path: /, command: [/x] }'), [
    'c.yaml:9:32 services[0].health.path: is only for the types http and https; this check has the type tcp',
    'c.yaml:9:44 services[0].health.command: is only for the type exec; this check has the type tcp',
  ])
  assert.equal(errorsOf('health: { port: 1 }'), [
    'c.yaml:9:21 services[0].health.port: is only for the types tcp, http and https; this check has the type none',
  ])
  assert.match(
    errorsOf('health: { type: exec }')[0]!,
    /^c\.yaml:9:13 services\[0\]\.health: the type exec needs command/,
  )
  assert.match(
    errorsOf('health: { type: exec, command: [curl, x] }')[0]!,
    /^c\.yaml:9:37 services\[0\]\.health\.command\[0\]: must be the absolute path of a program/,
  )
  assert.match(errorsOf('health: { type: exec, command: [] }')[0]!, /command: must have at least 1 entry/)
  assert.match(errorsOf('health: { type: http }', 'udp')[0]!, /health: the service is of UDP.*give port/)
  assert.equal(errorsOf('choice: { strategy: linear, tokens: 10 }'), [
    'c.yaml:9:25 services[0].choice.strategy: is only for the scheme tokens; this choice has the scheme hash',
    'c.yaml:9:41 services[0].choice.tokens: is only for the scheme tokens; this choice has the scheme hash',
  ])
  assert.match(
    errorsOf('', 'tcp', 'overload: { drain: 50 }')[0]!,
    /overload\.resume: is 75 and must be less than overload\.drain \(50\)$/,
  )
})

it('a choice is whole, with or without a configuration', () => {
  assert.equal(choiceOf({}), { scheme: 'hash', strategy: 'round-robin', tokens: undefined, duration: 5_000 })
  const [service] = parse(
    'choice: { scheme: tokens, strategy: linear, tokens: 100, duration: 1000 }',
  ).services
  assert.equal(choiceOf(service!), { scheme: 'tokens', strategy: 'linear', tokens: 100, duration: 1_000 })
})

it('groups and overload: of the document in a managed cluster, of the node file in a static one', () => {
  const defaults = {
    groups: { size: 32, heartbeats: 'full', direct: 3 },
    overload: { drain: 95, resume: 75, forMs: 30_000 },
  }
  const doc = parse('', 'tcp', 'groups: { size: 8, heartbeats: changes }\n')
  assert.equal(doc.groups, { size: 8, heartbeats: 'changes', direct: 3 })
  assert.is(doc.overload, undefined)
  const file = parseNodeFile(NODE, 'n.yaml')
  const parts = { roles: [], peers: [], services: [], timeouts: {} }
  const { groups, overload } = composeConfig(file, parts)
  assert.equal({ groups, overload }, defaults)
  assert.equal(composeConfig(file, { ...parts, groups: doc.groups }).groups, doc.groups)
  assert.throws(
    () => parseNodeFile(`${NODE}groups: {}\n`, 'n.yaml'),
    /n\.yaml:5:1 groups: must not be here.*shunt apply changes groups/,
  )
  const own = parseNodeConfig(STATIC, 'n.yaml')
  assert.equal({ groups: own.groups, overload: own.overload }, defaults)
  const given = parseNodeConfig(`${STATIC}overload: { drain: 80, resume: 50 }\n`, 'n.yaml')
  assert.equal(given.overload, { drain: 80, resume: 50, forMs: 30_000 })
  assert.throws(
    () => parseNodeConfig(`${STATIC}overload: { resume: 95 }\n`, 'n.yaml'),
    /:7:21 overload\.resume: is 95/,
  )
})

it('a static service is checked alike', () => {
  const service = (more: string): string =>
    `${STATIC}services: [{ name: a, vip: 10.99.0.1, port: 80, protocol: tcp, hosts: [{ name: n1 }], ${more} }]\n`
  const config = parseNodeConfig(service('health: { type: tcp }, slowStart: 100'), 'n.yaml')
  assert.is(config.services[0]!.health!.type, 'tcp')
  assert.throws(
    () => parseNodeConfig(service('health: { type: tcp, path: / }'), 'n.yaml'),
    /services\[0\]\.health\.path: is only for/,
  )
})

it('differences name the value; what only says the default is none', () => {
  const before = parse('health: { type: tcp }')
  const after = parse(
    'health: { type: http, path: /x, interval: 500 }\nchoice: { scheme: tokens }\nslowStart: 100\nwhenFailing: inactive',
    'tcp',
    'groups: { size: 8 }\noverload: { drain: 90 }\n',
  )
  assert.is(
    renderChanges(diffDocuments(before, after)),
    `~ service http: choice.scheme hash -> tokens, health.interval 2000 -> 500, health.path - -> /x, health.type tcp -> http, slowStart 0 -> 100, whenFailing draining -> inactive
~ setting groups.size: 32 -> 8
~ setting overload.drain: 95 -> 90
`,
  )
  const spelled = parse(
    'health: { type: tcp, rise: 2 }\nchoice: {}\nslowStart: 0\nwhenFailing: draining',
    'tcp',
    'groups: {}\noverload: { drain: 95 }\n',
  )
  assert.equal(diffDocuments(before, spelled), [])
})

it('the examples use it', () => {
  const doc = parseDocument(readFileSync(join(ROOT, 'packaging/cluster.example.yaml'), 'utf8'), 'example')
  assert.ok(doc.services.some(service => service.health?.type === 'http'))
  assert.ok(
    loadNodeConfig(join(ROOT, 'packaging/node-static.example.yaml')).services[0]!.health !== undefined,
  )
})

it.run()
