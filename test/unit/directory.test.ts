/** Directories that follow one another: an index keeps its meaning as long as anything may still go by it. */
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Directory, DirectoryIndex } from '../../src/agent/dataplane/directory.ts'
import { assignIndexes, emptyBook } from '../../src/agent/dataplane/index-book.ts'
import { buildDirectory } from '../../src/agent/plan.ts'
import { type NodeConfig, nodeConfigSchema } from '../../src/config/schema.ts'

const it = suite('directory')

const ID = `12D3KooW${'1'.repeat(44)}`
interface Change {
  hosts?: Record<string, string>
  services?: { name: string; port: number; hosts?: string[] }[]
}
const config = ({ hosts = {}, services = [] }: Change): NodeConfig =>
  nodeConfigSchema.parse({
    version: 1,
    node: { name: 'f1', identityFile: '/f1' },
    roles: ['forwarder', 'classifier'],
    interfaces: { uplink: ['u0'], cluster: ['c0'] },
    addresses: { cluster: '10.10.0.11', tunnel: '10.10.1.11' },
    cluster: { secrets: [{ number: 1, file: '/s' }] },
    peers: Object.entries(hosts).map(([name, address]) => ({ name, id: ID, roles: ['host'], address })),
    services: services.map(({ name, port, hosts: members = Object.keys(hosts) }) => ({
      ...{ name, port, vip: '10.99.0.1', protocol: 'tcp' },
      hosts: members.map(member => ({ name: member })),
    })),
  })
const indexes = (directory: Directory): Record<string, number> =>
  Object.fromEntries(directory.hosts.map(host => [host.name, host.index]))

it('at first counts hosts by name and services as they stand', () => {
  const directory = buildDirectory(
    config({
      hosts: { h2: '10.10.0.72', h1: '10.10.0.71' },
      services: [
        { name: 'web', port: 80 },
        { name: 'api', port: 81 },
      ],
    }),
  )
  assert.equal(indexes(directory), { h1: 1, h2: 2 })
  assert.equal(
    directory.services.map(({ name, index }) => [name, index]),
    [
      ['web', 0],
      ['api', 1],
    ],
  )
})

it('those that stay keep their index; a new one gets one never used; another address is another host', () => {
  const first = buildDirectory(config({ hosts: { h1: '10.10.0.71', h2: '10.10.0.72', h3: '10.10.0.73' } }))
  const second = buildDirectory(config({ hosts: { h0: '10.10.0.70', h3: '10.10.0.73' } }), first)
  assert.equal(indexes(second), { h0: 4, h3: 3 })
  const third = buildDirectory(config({ hosts: { h1: '10.10.0.71', h3: '10.10.0.99' } }), second)
  assert.equal(indexes(third), { h1: 5, h3: 6 })
})

it('a service is what clients address: renamed it stays, at another port it is another', () => {
  const services = (...list: { name: string; port: number }[]): Change => ({
    hosts: { h1: '10.10.0.71' },
    services: list,
  })
  const first = buildDirectory(config(services({ name: 'web', port: 80 }, { name: 'api', port: 81 })))
  const second = buildDirectory(config(services({ name: 'api', port: 82 }, { name: 'www', port: 80 })), first)
  assert.equal(
    second.services.map(({ name, index }) => [name, index]),
    [
      ['api', 2],
      ['www', 0],
    ],
  )
})

it('leaving hosts stay for their flows, known by address, in no pool, drained whatever is said of them', () => {
  const hosts = { h1: '10.10.0.71', h2: '10.10.0.72' }
  const services = [{ name: 'web', port: 80 }]
  const first = buildDirectory(config({ hosts, services }))
  const index = new DirectoryIndex(first)
  for (const host of first.hosts) host.live = true
  const second = buildDirectory(
    config({ hosts: { h2: '10.10.0.72' }, services }),
    first,
    new Set(['h1', 'h2']),
  )
  index.replace(second)
  assert.equal(indexes(second), { h2: 2, h1: 1 })
  assert.ok(index.host(1)!.leaving && index.host(1)!.draining && index.host(1)!.live)
  assert.is(index.hostAt(index.host(1)!.ipv4)!.name, 'h1')
  assert.ok(index.host(2)!.draining, 'still a host of the configuration, and yet it leaves')
  assert.equal(
    second.services[0].hosts.map(host => host.index),
    [],
    'nothing new for them',
  )
  const third = buildDirectory(
    config({ hosts: { h2: '10.10.0.72', h9: '10.10.0.71' }, services }),
    second,
    new Set(['h1']),
  )
  index.replace(third)
  assert.is(index.hostAt(index.host(1)!.ipv4)!.name, 'h9', 'who has the address now goes first')
  assert.not.ok(index.host(2)!.draining, 'and it stays after all')
  index.replace(buildDirectory(config({ hosts: { h2: '10.10.0.72' }, services }), third))
  assert.is(index.host(1), undefined)
  assert.ok(index.host(2)!.live, 'what is known of the living is carried over')
})

it('indexes: stable, unique, never used before used again, longest free first (against a slow twin)', () => {
  const LAST = 6
  fc.assert(
    fc.property(
      fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 11 }), { maxLength: 8 }), { maxLength: 30 }),
      rounds => {
        let book = emptyBook(1)
        let held: ReadonlyMap<string, number> = new Map()
        const freedAt = new Map<number, number>()
        for (const [round, numbers] of rounds.entries()) {
          const keys = numbers.map(String)
          const { indexes: now, book: next } = assignIndexes(keys, held, book, LAST)
          for (const [key, index] of held) {
            if (keys.includes(key)) assert.is(now.get(key), index)
            else freedAt.set(index, round)
          }
          assert.is(new Set(now.values()).size, now.size)
          assert.is(now.size, Math.min(keys.length, LAST))
          const fresh = [...now].filter(([key]) => !held.has(key)).map(([, index]) => index)
          const unused = Array.from({ length: LAST }, (_, i) => i + 1).filter(i => i >= book.next)
          for (const [i, index] of fresh.entries()) {
            assert.ok(index >= 1 && index <= LAST)
            if (i < unused.length) assert.is(index, unused[i])
            else {
              const waiting = [...freedAt].filter(([other]) => ![...now.values()].includes(other))
              for (const [, since] of waiting) assert.ok(freedAt.get(index)! <= since, 'longest free first')
            }
          }
          for (const index of fresh) freedAt.delete(index)
          held = now
          book = next
        }
      },
    ),
    { seed: 20261121, numRuns: 500 },
  )
})

it('what is heard of agents counts by index and name; a host that leaves drains, whatever it says', () => {
  const built = buildDirectory(config({ hosts: { h1: '10.10.0.71', h2: '10.10.0.72' } }))
  const index = new DirectoryIndex({
    ...built,
    hosts: built.hosts.map(host => ({ ...host, leaving: host.index === 2 })),
    classifiers: ['c1', 'c2'].map((name, ipv4) => ({ name, ipv4, live: name === 'c1' })),
  })
  index.hostsAre([1, 2, 9].map(host => ({ index: host, live: true, draining: false })))
  const seen = () => index.directory.hosts.map(({ live, draining }) => [live, draining])
  assert.equal(seen(), [
    [true, false],
    [true, true],
  ])
  index.hostsAre([{ index: 1, live: false, draining: true }])
  assert.equal(seen(), [
    [false, true],
    [true, true],
  ])
  index.classifiersAlive(['c2', 'c9'])
  assert.is(index.classifier()?.name, 'c2')
})

it.run()
