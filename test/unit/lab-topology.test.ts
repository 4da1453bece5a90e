import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { stringify } from 'yaml'
import { parseNodeConfig } from '../../src/config/load.ts'
import { ShuntError } from '../../src/errors.ts'
import { addressLines, linkLines } from '../../src/lab/ip-lines.ts'
import { nodeConfig, placeFiles } from '../../src/lab/node-config.ts'
import { COMBINE, DEFAULT_OPTIONS, type TopologyOptions } from '../../src/lab/options.ts'
import { nginxConfig, webPorts } from '../../src/lab/services.ts'
import { hostsOf, type LabPlan, nodesOf, placeOf, planLab, vipRoute } from '../../src/lab/topology.ts'

const it = suite('lab-topology')

const plan = (options: Partial<TopologyOptions> = {}): LabPlan => planLab({ ...DEFAULT_OPTIONS, ...options })
const names = (p: LabPlan): string => p.places.map(place => place.name).join(' ')
/** Valid, distinct peer ids. */
const peerIds = (p: LabPlan): Map<string, string> =>
  new Map(
    nodesOf(p).map((node, i) => [
      node.name,
      `12D3KooW${'1'.repeat(42)}${'abcdefghijk'[Math.floor(i / 9)]}${(i % 9) + 1}`,
    ]),
  )

const anyOptions: fc.Arbitrary<TopologyOptions> = fc.record({
  name: fc.stringMatching(/^[a-z0-9-]{1,20}$/),
  forwarders: fc.integer({ min: 1, max: 30 }),
  classifiers: fc.integer({ min: 1, max: 30 }),
  hosts: fc.integer({ min: 1, max: 30 }),
  clients: fc.integer({ min: 1, max: 30 }),
  combine: fc.constantFrom(...COMBINE),
  services: fc.constant([
    ...DEFAULT_OPTIONS.services,
    { name: 'dns', vip: '10.99.0.2', port: 53, protocol: 'udp' as const },
  ]),
  capacities: fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 5 }),
  mtu: fc.constantFrom(1500, 9000),
})

it('plans the default lab', () => {
  const p = plan()
  assert.is(names(p), 'switch router f1 f2 c1 h1 h2 h3 client1')
  assert.equal(placeOf(p, 'f2').roles, ['forwarder'])
  assert.is(placeOf(p, 'f2').address, '10.10.0.12')
  assert.is(placeOf(p, 'f2').tunnel, '10.10.1.12')
  assert.is(placeOf(p, 'h1').address, '10.10.0.71')
  assert.is(placeOf(p, 'h1').tunnel, null)
  assert.is(placeOf(p, 'client1').address, '10.20.0.11')
  assert.ok(
    placeOf(p, 'router').routes.includes('10.99.0.1/32 nexthop via 10.10.0.11 nexthop via 10.10.0.12'),
  )
})

it('combines roles', () => {
  assert.is(names(plan({ combine: 'fc' })), 'switch router f1 f2 h1 h2 h3 client1')
  assert.equal(placeOf(plan({ combine: 'fc' }), 'f1').roles, ['forwarder', 'classifier'])
  const all = plan({ combine: 'all', hosts: 2 })
  assert.is(names(all), 'switch router n1 n2 client1')
  assert.equal(placeOf(all, 'n2').roles, ['forwarder', 'classifier', 'host'])
  assert.ok(
    placeOf(all, 'router').routes.includes('10.99.0.1/32 nexthop via 10.10.0.151 nexthop via 10.10.0.152'),
  )
})

it('names, addresses and ports are unique and fit the kernel, however large the lab', () => {
  fc.assert(
    fc.property(anyOptions, options => {
      const p = planLab(options)
      const once = (what: string, values: string[]) =>
        assert.is(new Set(values).size, values.length, `${what} repeat: ${values.join(' ')}`)
      once(
        'names',
        p.places.map(place => place.name),
      )
      once(
        'namespaces',
        p.places.map(place => place.netns),
      )
      once(
        'addresses',
        p.places.flatMap(place => place.addresses.map(([, cidr]) => cidr.split('/')[0]!)),
      )
      for (const place of p.places) {
        assert.ok(place.netns.startsWith(`${options.name}-`))
        assert.ok(placeFiles(`/run/shunt-lab/${p.name}`, place.name).socket.length <= 107)
        const devices = place.links.map(link => link.device)
        once('devices', devices)
        for (const device of devices) assert.ok(device.length <= 15, device)
        for (const [, cidr] of place.addresses)
          for (const byte of cidr.split(/[./]/).map(Number)) assert.ok(byte >= 0 && byte <= 254, cidr)
      }
    }),
  )
})

it('every place but the switch has exactly one cable, from a bridge that exists', () => {
  fc.assert(
    fc.property(anyOptions, options => {
      const p = planLab(options)
      const cables = p.places.flatMap(place =>
        place.links.flatMap(link => {
          if (link.kind === 'bridge') return []
          assert.ok(place.links.some(l => l.kind === 'bridge' && l.device === link.bridge))
          return [link.peerNetns]
        }),
      )
      const others = p.places.filter(place => place.kind !== 'switch').map(place => place.netns)
      assert.equal(cables.toSorted(), others.toSorted())
    }),
  )
})

it('the agent takes every node file', () => {
  fc.assert(
    fc.property(anyOptions, options => {
      const p = planLab(options)
      const ids = peerIds(p)
      for (const node of nodesOf(p)) {
        const text = stringify(nodeConfig(p, node, `/run/shunt-lab/${p.name}`, ids))
        const config = parseNodeConfig(text, `${node.name}.yaml`)
        assert.is(config.node.name, node.name)
        assert.is(config.peers.length, nodesOf(p).length - 1)
        assert.equal(
          config.services[0]!.hosts,
          hostsOf(p).map((h, i) => ({
            name: h.name,
            capacity: options.capacities[i % options.capacities.length]!,
          })),
        )
      }
    }),
    { numRuns: 10 },
  )
})

it('routes a virtual IP to any number of forwarders', () => {
  assert.is(vipRoute('10.99.0.1', []), 'unreachable 10.99.0.1/32')
  assert.is(vipRoute('10.99.0.1', ['10.10.0.11']), '10.99.0.1/32 via 10.10.0.11')
  assert.is(
    vipRoute('10.99.0.1', ['10.10.0.11', '10.10.0.12']),
    '10.99.0.1/32 nexthop via 10.10.0.11 nexthop via 10.10.0.12',
  )
})

it('routes the whole net of virtual IPs, below what is said of one of them', () => {
  const { routes } = placeOf(plan(), 'router')
  assert.ok(routes.includes('10.99.0.0/24 nexthop via 10.10.0.11 nexthop via 10.10.0.12'))
  assert.ok(placeOf(plan({ forwarders: 1 }), 'router').routes.includes('10.99.0.0/24 via 10.10.0.11'))
})

it('asks for virtual IPs that are announced by ARP, and the nodes know it', () => {
  const p = plan({ announce: 'arp', ipv6: true })
  const { routes } = placeOf(p, 'router')
  for (const route of ['10.99.0.0/24 dev eth0', '10.99.0.1/32 dev eth0', 'fd10:99::/64 dev eth0'])
    assert.ok(routes.includes(route), `${route} of ${routes.join('; ')}`)
  const config = nodeConfig(p, nodesOf(p)[0]!, '/lab', peerIds(p))
  assert.is(config.services?.[0]?.announce, 'arp')
  assert.throws(() => plan({ announce: 'carrier pigeon' as 'arp' }), /announced by routed, arp/)
})

it('services that share a virtual IP share its route', () => {
  const web = DEFAULT_OPTIONS.services[0]!
  const p = plan({ forwarders: 1, services: [web, { ...web, name: 'alt', port: 8080 }] })
  assert.is(placeOf(p, 'router').routes.filter(r => r.startsWith('10.99.0.1/32')).length, 1)
  assert.equal(webPorts(p), [80, 8080])
})

it('writes what ip -batch and nginx read', () => {
  const p = plan({ name: 'x' })
  assert.ok(
    linkLines(placeOf(p, 'switch')).includes(
      'link add to-h1 mtu 1500 type veth peer name eth0 mtu 1500 netns x-h1',
    ),
  )
  assert.equal(addressLines(placeOf(p, 'h1')), [
    'link set lo up',
    'link set eth0 up',
    'addr add 10.10.0.71/24 dev eth0',
    'route add 10.10.1.0/24 dev eth0',
    'route add default via 10.10.0.1',
  ])
  assert.not.ok(addressLines(placeOf(p, 'switch')).some(line => line.includes('eth0')))
  const nginx = nginxConfig('h1', [80, 8080], '/f', '/p')
  assert.match(nginx, 'listen 0.0.0.0:8080')
  assert.match(nginx, 'return 200 "h1\\n"')
})

const refused: [string, Partial<TopologyOptions>, RegExp][] = [
  ['an empty name', { name: '' }, /1 to 20 of a-z/],
  ['a name with a slash', { name: '../x' }, /1 to 20 of a-z/],
  ['a long name', { name: 'a'.repeat(21) }, /1 to 20 of a-z/],
  ['no host', { hosts: 0 }, /1 to 60 hosts, not 0/],
  ['too many hosts', { hosts: 61 }, /1 to 60 hosts/],
  ['too many nodes with every role', { combine: 'all', hosts: 31 }, /1 to 30 hosts/],
  ['no forwarder', { forwarders: 0 }, /1 to 30 forwarders/],
  ['no classifier', { classifiers: 0 }, /1 to 30 classifiers/],
  ['half a client', { clients: 1.5 }, /1 to 30 clients, not 1.5/],
  ['an unknown combination', { combine: 'some' as 'all' }, /none, fc, all/],
  ['no service', { services: [] }, /at least one service/],
  ['no capacity', { capacities: [] }, /capacity/],
  ['packets that are too large', { mtu: 9001 }, /1280 to 9000 bytes, not 9001/],
  ['a capacity above 99', { capacities: [50, 100] }, /0 to 99, not 100/],
]
for (const [what, options, message] of refused)
  it(`refuses ${what}`, () => {
    assert.throws(
      () => plan(options),
      (error: unknown) =>
        error instanceof ShuntError && error.code === 'SHUNT_ERR_LAB' && message.test(error.message),
    )
  })

it('names the places that exist when asked for another', () => {
  assert.throws(() => placeOf(plan(), 'h9'), /has no "h9"; it has switch, router, f1/)
})

it.run()
