import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CapacityAllotment, WAITS } from '../../src/agent/classify/allotment.ts'
import { ClassifierCore } from '../../src/agent/classify/classifier-core.ts'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { ipv4Word } from '../../src/agent/dataplane/flow-key.ts'
import { createMappingHeader, KIND } from '../../src/agent/dataplane/mapping-header.ts'
import type { PacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { directory, FORWARDER, HOSTS, ip, TUNNEL, tcp, VIP, words } from '../support/cores.ts'
import { FLAG } from '../support/packets.ts'

const it = suite('classifier core under another configuration')

const start = () => {
  const index = directory()
  const chosen: number[] = []
  const dropped: number[] = []
  const core = new ClassifierCore({
    directory: index,
    allotment: new CapacityAllotment(index, 1, 2),
    ports: {
      datagram: header => chosen.push(ipv4Word(header.node, 0)),
      plumb: () => {},
      drop: reason => dropped.push(reason),
    },
    ...{ capacity: 64, idleMs: 1000, k0: 3, k1: 4 },
  })
  const classify = (client: number, inner: PacketRef | null = null): number => {
    const header = createMappingHeader()
    header.kind = KIND.CLASSIFY
    header.node.set(words(TUNNEL))
    header.client.set(words(`10.20.0.${client}`))
    header.vip.set(words(VIP))
    header.ports = ((40_000 << 16) | 80) >>> 0
    header.protocol = 6
    core.classify(header, inner, ip(FORWARDER), 0)
    return chosen.at(-1)!
  }
  return { index, core, classify, dropped, chosen }
}
const clients = Array.from({ length: 40 }, (_, i) => i + 1)

it('sessions of a host that is gone leave the inventory, so that its index may get another meaning', () => {
  const { index, core, classify } = start()
  const before = clients.map(client => classify(client))
  assert.equal([...new Set(before)].sort(), HOSTS.map(ip).sort())
  const old = index.directory
  index.replace({ ...old, hosts: old.hosts.slice(0, 2) })
  core.reconfigured()
  assert.is(core.inventory.size, before.filter(host => host !== ip(HOSTS[2])).length)
  const other = { ...old.hosts[2], name: 'h9', ipv4: ip('10.10.0.79'), words: words('10.10.0.79'), hash: 5 }
  index.replace({ ...old, hosts: [...old.hosts.slice(0, 2), other] })
  core.reconfigured()
  const after = clients.map(client => classify(client))
  for (const [i, host] of before.entries())
    if (host !== ip(HOSTS[2])) assert.is(after[i], host, 'those of the others stay')
  assert.ok(after.includes(ip('10.10.0.79')))
  assert.not.ok(
    after.every((host, i) => (before[i] === ip(HOSTS[2])) === (host === ip('10.10.0.79'))),
    'what went to the old host is chosen anew, not inherited with its index',
  )
})

it('sessions of a service that is gone leave the inventory', () => {
  const { index, core, classify, dropped } = start()
  for (const client of clients) classify(client)
  index.replace({ ...index.directory, services: [] })
  core.reconfigured()
  assert.is(core.inventory.size, 0)
  classify(1)
  assert.is(dropped.length, 1)
})

it('a host that left the pool, or drains, keeps what is under way and gets no first segment', () => {
  const { index, core, classify } = start()
  const before = clients.map(client => classify(client, tcp(FLAG.SYN)))
  const old = index.directory
  const [service] = old.services
  index.replace({ ...old, services: [{ ...service!, hosts: service!.hosts.slice(1) }] })
  index.host(2)!.draining = true
  core.reconfigured()
  assert.equal(
    clients.map(client => classify(client, tcp(FLAG.ACK))),
    before,
  )
  assert.equal([...new Set(clients.map(client => classify(client, tcp(FLAG.SYN))))], [ip(HOSTS[2])])
})

it('what is under way on an inactive host waits for it; what begins goes elsewhere', () => {
  const { index, core, classify, dropped, chosen } = start()
  const before = clients.map(client => classify(client, tcp(FLAG.SYN)))
  const there = clients.filter((_, i) => before[i] === ip(HOSTS[0]!))
  assert.ok(there.length > 1)
  let off = true
  index.readiness = { takesNew: (_, host) => host !== 1, isInactive: (_, host) => off && host === 1 }
  chosen.length = 0
  for (const client of there) classify(client, tcp(FLAG.ACK))
  assert.equal([chosen.length, core.inventory.size], [0, clients.length])
  assert.equal([...new Set(dropped)], [DROP.INACTIVE])
  off = false
  assert.is(classify(there[0]!, tcp(FLAG.ACK)), ip(HOSTS[0]!))
  off = true
  // The test's allotment knows nothing of health: the point is that the old host does not stay by itself.
  index.host(1)!.draining = true
  assert.is.not(classify(there[0]!, tcp(FLAG.SYN)), ip(HOSTS[0]!))
})

it('a client that is asked about is sent nowhere, with nothing kept of it: it is asked about, and its packet dropped', () => {
  const { index } = start()
  const asked: string[] = []
  const dropped: number[] = []
  const core = new ClassifierCore({
    directory: index,
    allotment: { choose: () => WAITS },
    clients: { hold: (_service, key, at, packet) => asked.push(`${key[at + 8]! >>> 16} ${packet}`) },
    ports: {
      datagram: () => assert.unreachable(),
      plumb: () => assert.unreachable(),
      drop: reason => dropped.push(reason),
    },
    ...{ capacity: 64, idleMs: 1000, k0: 3, k1: 4 },
  })
  const header = createMappingHeader()
  header.kind = KIND.CLASSIFY
  header.node.set(words(TUNNEL))
  header.client.set(words('10.20.0.1'))
  header.vip.set(words(VIP))
  header.ports = ((40_000 << 16) | 80) >>> 0
  header.protocol = 6
  core.classify(header, null, ip(FORWARDER), 0)
  assert.equal([asked, dropped, core.inventory.size], [['40000 null'], [DROP.UNRESOLVED], 0])
})

it.run()
