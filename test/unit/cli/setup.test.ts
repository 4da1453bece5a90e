/** The pure parts of setting up a node and of warnings before one goes. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { contradictions } from '../../../src/cli/former-node.ts'
import { lossesOf, lossText } from '../../../src/cli/losses.ts'
import { absence, inFlags } from '../../../src/cli/setup-check.ts'
import { labParts, type Setup, type SetupFlags } from '../../../src/cli/setup-flags.ts'
import { startHint } from '../../../src/cli/start-hint.ts'
import { nodeFileText } from '../../../src/cluster/setup.ts'
import { parseNodeFile } from '../../../src/config/load.ts'
import { bareHints } from '../../../src/lab/hints.ts'
import { DEFAULT_OPTIONS } from '../../../src/lab/options.ts'
import { hostsOf, nodesOf, planLab } from '../../../src/lab/topology.ts'

const it = suite('cli/setup')

const SETUP: Setup = {
  places: {
    config: '/etc/shunt/node.yaml',
    identity: '/etc/shunt/identity.key',
    stateDir: '/var/lib/shunt',
    controlSocket: '/run/shunt/control.sock',
    appSocket: '/run/shunt/app.sock',
  },
  facts: { name: 'f1', address: '10.0.0.1', tunnel: '10.0.1.1' },
  uplink: ['eth1'],
  clusterInterfaces: ['eth0'],
}

it('names the flag and not the file', () => {
  assert.is(
    inFlags(
      '/a/n.yaml:3:9 addresses.cluster: must be x: y\n/a/n.yaml:4:1 interfaces.uplink[0]: no',
      '/a/n.yaml',
    ),
    '--address: must be x: y\n--uplink: no',
  )
  assert.is(inFlags('/a/n.yaml:1:1 log.level: no', '/a/n.yaml'), 'log.level: no')
})

it('says what a machine does not have', () => {
  const machine = { interfaces: ['eth0', 'eth1'], addresses: [{ ip: '10.0.0.1', link: 'eth0' }] }
  // The agent brings the tunnel address itself.
  assert.is(absence(SETUP, machine), undefined)
  assert.is(
    absence({ ...SETUP, facts: { ...SETUP.facts, address: '10.0.0.2' } }, machine),
    '--address 10.0.0.2: this machine does not have this address; it has 10.0.0.1 (eth0)',
  )
  assert.is(
    absence({ ...SETUP, uplink: ['eht1'] }, machine),
    '--uplink eht1: this machine has no such interface (did you mean "eth1"?); it has eth0, eth1',
  )
  const six = { ...SETUP, facts: { ...SETUP.facts, address6: 'fd00::2' } }
  const dual = { ...machine, addresses: [...machine.addresses, { ip: 'fd00::1', link: 'eth1' }] }
  assert.is(
    absence(six, dual),
    '--address6 fd00::2: this machine does not have this address; it has fd00::1 (eth1)',
  )
  assert.is(absence({ ...six, facts: { ...six.facts, address6: 'fd00::1' } }, dual), undefined)
  assert.match(absence({ ...SETUP, clusterInterfaces: ['x'] }, machine) ?? '', /^--cluster-interface x: /)
  assert.match(absence(SETUP, { interfaces: ['eth0', 'eth1'], addresses: [] }) ?? '', /it has none$/)
})

it('a node that is made in a lab has its own control group, and the data plane of the lab', () => {
  assert.equal(labParts({ SHUNT_LAB_DATAPLANE: 'xdp' }), {}, 'that is for a lab to come')
  assert.equal(labParts({ SHUNT_LAB_NODE: 'f1' }), { cgroup: 'own' })
  const parts = labParts({ SHUNT_LAB_NODE: 'f1', SHUNT_LAB_DATAPLANE: 'xdp' })
  const ports = { controlPort: 6780, mappingPort: 6781 }
  const file = parseNodeFile(nodeFileText({ ...SETUP, ...SETUP.facts, ...parts, ...ports }), 'node.yaml')
  assert.equal([file.node.cgroup, file.dataplane], ['own', 'xdp'])
  const plain = parseNodeFile(nodeFileText({ ...SETUP, ...SETUP.facts, ...ports }), 'node.yaml')
  assert.equal([plain.node.cgroup, plain.dataplane], [undefined, 'auto'])
})

it('only flags that were given contradict a node file', () => {
  const file = parseNodeFile(
    nodeFileText({ ...SETUP, ...SETUP.facts, controlPort: 6780, mappingPort: 6781 }),
    'node.yaml',
  )
  const flags = {
    config: 'node.yaml',
    name: 'f2',
    uplink: ' eth1 ,',
    tunnel: '10.0.1.1',
    'cluster-interface': 'eth0,eth2',
    'state-dir': '/var/lib/other',
    'control-socket': '/run/shunt/../shunt/control.sock',
    'app-socket': '/x',
    unchecked: false,
  } satisfies SetupFlags
  assert.equal(contradictions(file, flags, new Set()), [])
  assert.equal(contradictions(file, flags, new Set(['uplink', 'tunnel', 'control-socket', 'unchecked'])), [])
  assert.equal(contradictions(file, flags, new Set(Object.keys(flags))), [
    '--name f2 (it says f1)',
    '--cluster-interface eth0,eth2 (it says eth0)',
    '--state-dir /var/lib/other (it says /var/lib/shunt)',
    '--app-socket /x (it says /run/shunt/app.sock)',
  ])
})

const node = (name: string, ...roles: string[]) => ({ id: `id-${name}`, name, roles })
const service = (name: string, ...hosts: string[]) => ({ name, hosts: hosts.map(host => ({ name: host })) })

it('knows which roles and services go with a node', () => {
  const nodes = [node('f1', 'forwarder', 'classifier'), node('h1', 'host'), node('h2', 'host', 'classifier')]
  const services = [
    service('web', 'h1', 'h2'),
    service('api', 'h1'),
    service('old', 'h1', 'h9'),
    service('x', 'h9'),
  ]
  assert.equal(lossesOf(nodes, services, 'id-h1', []), { roles: [], services: ['api', 'old'] })
  assert.equal(lossesOf(nodes, services, 'id-h1', ['host']), { roles: [], services: [] })
  assert.equal(lossesOf(nodes, services, 'id-h2', []), { roles: [], services: [] })
  assert.equal(lossesOf(nodes, services, 'id-f1', []), { roles: ['forwarder'], services: [] })
  assert.equal(lossesOf(nodes.slice(0, 2), services, 'id-h1', []), {
    roles: ['host'],
    services: ['web', 'api', 'old'],
  })
  // A host without the role runs nothing for the cluster already.
  assert.equal(lossesOf([node('h1', 'classifier'), node('c', 'classifier')], services, 'id-h1', []), {
    roles: [],
    services: [],
  })
  assert.equal(lossesOf(nodes, services, 'id-none', []), { roles: [], services: [] })
})

it('says it in a sentence', () => {
  assert.is(lossText({ roles: [], services: [] }), undefined)
  assert.is(
    lossText({ roles: ['forwarder', 'host'], services: ['a', 'b'] }),
    'No other node of the cluster is a forwarder or host, and the services a, b would have no host.',
  )
  assert.is(
    lossText({ roles: [], services: [...'abcdefg'] }),
    '7 services (a, b, c, d, e, ...) would have no host.',
  )
})

it('starts an agent by systemd, or by the lab that the node is of', () => {
  assert.match(
    startHint('/etc/n.yaml', {}),
    /^systemctl enable --now shunt \(or shunt agent --config \/etc\/n\.yaml\)$/,
  )
  // Only inside of a node; outside SHUNT_LAB is the user's own.
  assert.match(startHint('/etc/n.yaml', { SHUNT_LAB: 'big' }), /^systemctl/)
  assert.is(startHint('n', { SHUNT_LAB: 'lab', SHUNT_LAB_NODE: 'h1' }), 'shunt lab start h1')
  assert.is(startHint('n', { SHUNT_LAB: 'big', SHUNT_LAB_NODE: 'h1' }), 'shunt lab start --name big h1')
})

it('the lines for a bare lab make a cluster of all its nodes', () => {
  const hints = (options: Partial<typeof DEFAULT_OPTIONS>): string[] => {
    const plan = planLab({ ...DEFAULT_OPTIONS, ...options })
    return bareHints({ name: plan.name, nodes: nodesOf(plan), hosts: hostsOf(plan), services: plan.services })
  }
  assert.equal(hints({ name: 'b', forwarders: 1, hosts: 1 }), [
    'shunt lab exec --name b f1 -- shunt init --name f1 --roles forwarder --tunnel 10.10.1.11',
    'shunt lab start --name b f1',
    'TOKEN=$(shunt lab exec --name b f1 -- shunt token --uses 2)',
    'shunt lab exec --name b c1 -- shunt join $TOKEN --name c1 --roles classifier',
    'shunt lab exec --name b h1 -- shunt join $TOKEN --name h1 --roles host',
    'shunt lab start --name b c1 h1',
    `echo '{"version":1,"pools":[{"name":"web","hosts":[{"name":"h1"}]}],"services":[{"name":"web","vip":"10.99.0.1","port":80,"protocol":"tcp","pool":"web"}]}' | shunt lab exec --name b f1 -- shunt apply -f - --yes`,
  ])
  const alone = hints({ combine: 'all', hosts: 1 })
  assert.is(alone.length, 3)
  assert.not.ok(alone.some(line => line.includes('TOKEN') || line.includes('--name lab')))
  const many = hints({ hosts: 20 })
  assert.ok(many.length < 16)
  assert.ok(many.some(line => line.startsWith('# and so on: ') && line.endsWith('h20')))
})

it.run()
