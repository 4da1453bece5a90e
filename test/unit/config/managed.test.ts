import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { kindOfText } from '../../../src/config/kind.ts'
import { composeConfig, isManaged, parseNodeConfig, parseNodeFile } from '../../../src/config/load.ts'
import type { PeerConfig, ServiceConfig } from '../../../src/config/schema.ts'
import type { ShuntError } from '../../../src/errors.ts'

const GOOD = `version: 1
node: { name: f1, identityFile: /etc/shunt/identity.key }
interfaces: { uplink: [eth0], cluster: [eth1] }
addresses: { cluster: 10.10.0.11, tunnel: 10.10.1.11 }
`
const errorsOf = (text: string): string[] => {
  try {
    parseNodeFile(text, 'n.yaml')
  } catch (error) {
    assert.is((error as ShuntError).code, 'SHUNT_ERR_CONFIG')
    return (error as ShuntError).message.split('\n')
  }
  return []
}
const PEER: PeerConfig = {
  name: 'h1',
  id: '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN',
  roles: ['host'],
  address: '10.10.0.31',
}
const SERVICE: ServiceConfig = {
  name: 'web',
  vip: '10.99.0.1',
  port: 80,
  protocol: 'tcp',
  hosts: [{ name: 'h1', capacity: 50 }],
}

const it = suite('config/managed')

it('a file without secrets is managed; ports and the rest have their defaults', () => {
  const file = parseNodeFile(GOOD, 'n.yaml')
  assert.ok(isManaged(file))
  assert.equal(file.cluster, { controlPort: 6780, mappingPort: 6781 })
  assert.is(file.node.appSocket, '/run/shunt/app.sock')
  assert.is(file.roles, undefined)
  assert.is(file.peers, undefined)
  assert.is(file.services, undefined)
  assert.is(parseNodeFile(`${GOOD}cluster: { controlPort: 7000 }\n`, 'n').cluster.controlPort, 7000)
  assert.equal(parseNodeFile(JSON.stringify(file), 'n.json'), file)
})

it('what the cluster agrees on must not be in it', () => {
  const [peers, roles, services] = errorsOf(`peers: []\n${GOOD}roles: [host]\nservices: []\n`)
  assert.match(
    peers!,
    /^n\.yaml:1:1 peers: must not be here: this file has no cluster\.secrets.*shunt nodes.*give cluster\.secrets$/,
  )
  assert.match(roles!, /^n\.yaml:6:1 roles: must not be here.*shunt roles/)
  assert.match(services!, /^n\.yaml:7:1 services: must not be here.*shunt apply/)
})

it('a file with secrets is static, and must be whole', () => {
  const secrets = 'cluster: { secrets: [{ number: 1, file: /s }] }\n'
  assert.equal(errorsOf(`${GOOD}${secrets}`), ['n.yaml:1:1 roles: is required'])
  const file = parseNodeFile(`${GOOD}${secrets}roles: [host]\n`, 'n.yaml')
  assert.not.ok(isManaged(file))
  assert.equal(file.peers, [])
  assert.equal(file.services, [])
  assert.match(
    errorsOf(`${GOOD}cluster: { secrets: }\nroles: [host]\n`)[0]!,
    /cluster\.secrets: must be a list, not nothing/,
  )
  assert.throws(() => parseNodeConfig(GOOD, 'n.yaml'), /n\.yaml: has no cluster\.secrets/)
})

it('keys that must not be there are told together with what else is wrong, and not looked into', () => {
  const text = `${GOOD.replace('10.10.0.11', '10.10.0.300')}services: 7\nroles: [forwader]\n`
  assert.equal(
    errorsOf(text).map(line => line.split(' ')[1]),
    ['addresses.cluster:', 'services:', 'roles:'],
  )
  assert.match(errorsOf(text).join('\n'), /services: must not be here.*\n.*roles: must not be here/)
})

it('rules of its own', () => {
  assert.equal(errorsOf(GOOD.replace('10.10.1.11', '10.10.0.11')), [
    'n.yaml:4:43 addresses.tunnel: address 10.10.0.11 is already used at addresses.cluster',
  ])
  assert.equal(errorsOf(GOOD.replace('10.10.0.11', '0.0.0.0')), [
    'n.yaml:4:23 addresses.cluster: 0.0.0.0 is not a unicast address',
  ])
  assert.match(errorsOf(GOOD.replace('10.10.0.11', '127.0.0.1'))[0]!, /127\.0\.0\.1 is a loopback address/)
  assert.match(
    errorsOf(GOOD.replace('10.10.1.11', '10.10.1.11, cluster6: ff02::1')).join('\n'),
    /addresses\.cluster6: ff02::1 is not a unicast address$/,
  )
  assert.match(
    errorsOf(GOOD.replace('uplink: [eth0], ', ''))[0]!,
    /^n\.yaml:3:13 interfaces: addresses\.tunnel lets this node be a forwarder, which needs interfaces\.uplink/,
  )
  assert.equal(errorsOf(GOOD.replace(', tunnel: 10.10.1.11', '').replace('uplink: [eth0], ', '')), [])
  assert.match(errorsOf(`${GOOD}timeouts: { tcpIdle: 1000 }\n`)[0]!, /routeLease: is 60000 and must be/)
})

it('composed with what the cluster says, it is a whole configuration', () => {
  const file = parseNodeFile(`${GOOD}timeouts: { udpIdle: 5000, drain: 1 }\n`, 'n.yaml')
  const config = composeConfig(file, {
    roles: ['forwarder'],
    peers: [PEER],
    services: [SERVICE],
    timeouts: { drain: 2, linger: undefined },
  })
  assert.equal(config.roles, ['forwarder'])
  assert.equal(config.peers, [PEER])
  assert.equal(config.services, [SERVICE])
  assert.equal(config.cluster, { controlPort: 6780, mappingPort: 6781, secrets: [] })
  assert.is(config.timeouts.udpIdle, 5000)
  assert.is(config.timeouts.drain, 2)
  assert.is(config.timeouts.linger, 30_000)
  assert.is(file.cluster.secrets, undefined)
})

it('a lease of the one source never outlives half the idle time of the other', () => {
  const file = parseNodeFile(`${GOOD}timeouts: { routeLease: 400000 }\n`, 'n.yaml')
  const parts = { roles: [], peers: [], services: [], timeouts: { tcpIdle: 120_001 } }
  assert.is(composeConfig(file, parts).timeouts.routeLease, 60_000)
})

it('the two kinds of files are told apart', () => {
  assert.is(kindOfText(GOOD), 'node')
  assert.is(kindOfText('version: 1\npools: []\n'), 'cluster')
  assert.is(kindOfText('version: 1\nservices: []\n'), 'cluster')
  assert.is(kindOfText('version: 1\nservices: []\nroles: [host]\n'), 'node')
  for (const text of ['', '1', '[', '['.repeat(50_000), 'version: 1']) assert.is(kindOfText(text), 'node')
})

it.run()
