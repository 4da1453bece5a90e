/** The XDP data plane outlives its agent, and another goes on with it (R-G4): by test runs of the program that is attached. */
// test-beside-others
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { adoptMappings, adoptRoutes } from '../../src/agent/dataplane/xdp/left-entries.ts'
import type { MigrationTable } from '../../src/agent/dataplane/xdp/migrations.ts'
import { EdgePins } from '../../src/agent/dataplane/xdp/pins.ts'
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { tickNow } from '../../src/agent/dataplane/xdp/tick.ts'
import { attachTcx } from '../../src/os/bpf/link.ts'
import { BpfMap, createMap } from '../../src/os/bpf/map.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { XDP } from '../../src/os/bpf/program.ts'
import { loadProbe, missingBpf, openFds } from '../support/bpf.ts'
import { addRoute, clientOf, EdgeWorld, FAR_TUNNEL, HOST_INDEX, hasRoute } from '../support/edge-world.ts'
import { removeNetns } from '../support/netns.ts'
import { addressWords } from '../support/packets.ts'
import { testIf } from '../support/skip.ts'

const it = suite('xdp-adoption')
const test = (name: string, body: (world: EdgeWorld) => void): void =>
  testIf(missingBpf(), it, name, async () => {
    const world = await EdgeWorld.open()
    const before = openFds()
    try {
      body(world)
      assert.equal(openFds(), before, 'descriptors')
    } finally {
      world.close()
      await removeNetns()
    }
  })
const { tx, pass } = XDP

test('routes and counters go on without an agent, and with the next one', world => {
  const first = world.edge({ adopt: false })
  addRoute(first, 1)
  assert.equal([world.packet(1), world.packet(2)], [tx, pass])
  first.leave()
  assert.is(world.packet(1), tx, 'nobody is there')
  const before = world.attached

  const second = world.edge()
  assert.is.not(world.attached, before)
  assert.equal(second.notes, [])
  assert.equal([world.packet(1), world.packet(2)], [tx, pass])
  addRoute(second, 2)
  assert.is(world.packet(2), tx, 'and it is the table that this agent writes')
  assert.equal([world.counted('COUNT_SENT_BACK'), world.counted('COUNT_NO_ROUTE')], [4, 2])
  assert.is(second.status().counters.xdp_sent_back, 4)
  assert.not(
    world.listing.some(name => /^(next|before)/.test(name)),
    world.listing.join(' '),
  )
  second.close()
  assert.equal([world.attached, existsSync(world.pins.folder)], [0, false])
})

test('mappings go on by the generation that their tunnel has', world => {
  const tunnel = addressWords(FAR_TUNNEL)[3]
  const first = world.edge({ adopt: false })
  first.tables.renewTunnel(tunnel)
  first.tables.renewTunnel(tunnel)
  const at = first.tables.tunnels.indexOf(tunnel)
  const generation = first.tables.tunnels.generations[at]
  const content = { client: addressWords(clientOf(7)), port: 2007, service: 1 }
  first.tables.mappings.put({ tunnel: at, generation, identifier: 77 }, content, tickNow())
  first.tables.mappings.put({ tunnel: at, generation: generation - 1, identifier: 78 }, content, tickNow())
  first.leave()

  const second = world.edge()
  assert.equal(
    [second.tables.tunnels.indexOf(tunnel), second.tables.tunnels.generations[at]],
    [at, generation],
  )
  const offered: number[] = []
  const stay = adoptMappings(second.tables, { tick: tickNow(), ms: 0 }, ({ identifier, tuple }) => {
    offered.push(identifier)
    assert.equal([tuple[3], tuple[8]], [addressWords(clientOf(7))[3], (2007 << 16) | 80])
    return true
  })
  assert.equal([stay, offered], [1, [77]], 'what an earlier epoch had is over')
  assert.is(second.tables.mappings.remove(at, 78), null)
  second.close()
})

test('routes of a service that is none any more, or that nobody wants, leave the kernel', world => {
  const first = world.edge({ adopt: false })
  for (const n of [1, 2]) addRoute(first, n)
  addRoute(first, 3, 9)
  first.leave()
  const second = world.edge()
  const wanted = adoptRoutes(
    second.tables,
    { tick: tickNow(), ms: 1000 },
    ({ key }) => key[3] === addressWords(clientOf(1))[3],
  )
  assert.is(wanted, 1)
  assert.equal([hasRoute(second, 1), hasRoute(second, 2), hasRoute(second, 3, 9)], [true, false, false])
  assert.equal([world.packet(1), world.packet(2)], [tx, pass])
  second.close()
})

test('with other limits the routes move to tables of the new size', world => {
  const first = world.edge({ adopt: false, flows: 1000 })
  for (let n = 0; n < 500; n++) addRoute(first, n)
  world.packet(3)
  first.leave()
  const second = world.edge({ flows: 5000 })
  for (let n = 0; n < 500; n++) assert.ok(hasRoute(second, n), `${n}`)
  assert.is(world.packet(3), tx)
  assert.is(world.counted('COUNT_SENT_BACK'), 2)
  using map = BpfMap.open(world.pinned('routes4'))!
  assert.ok(map.info.maxEntries > 1600)
  map.close()
  second.close()
})

test('what means something else now is not followed: its packets take the slow path', world => {
  const first = world.edge({ adopt: false })
  addRoute(first, 1)
  first.leave()
  const second = world.edge({ adopt: false })
  assert.is(world.packet(1), pass)
  second.close()
})

/** Routes as a version before this one had them: an array of 16 bytes an entry, big-endian: client, port, service, identifier, used. */
const OLD = '0000000a'
const oldRoutes = (world: EdgeWorld, count: number): void => {
  using map = createMap({
    ...{ type: 2, name: 'routes4', keyBytes: 4, valueBytes: 16, maxEntries: 1024, flags: 1 << 10 },
  })
  using array = new MappedArray(map)
  for (let n = 0; n < count; n++) {
    array.view.setUint32(n * 16, addressWords(clientOf(n))[3])
    array.view.setUint16(n * 16 + 4, 2000 + n)
    array.view.setUint16(n * 16 + 6, 1)
    array.view.setUint32(n * 16 + 8, (HOST_INDEX << 24) | (0x10000 + n))
    array.view.setUint32(n * 16 + 12, 1)
  }
  const path = world.pinned('routes4')
  rmSync(path)
  map.pin(join(dirname(path), `map_routes4_${OLD}`))
}
const MIGRATIONS: MigrationTable = {
  routes4: {
    [OLD]: {
      *routes(memory) {
        const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength)
        for (let at = 0; at < memory.byteLength; at += 16) {
          if (view.getUint32(at + 12) === 0) continue
          if (view.getUint16(at + 6) === 0xdead) throw new RangeError('an entry of no service')
          const client = Uint32Array.of(0, 0, 0xffff, view.getUint32(at))
          const content = { state: ROUTE_STATE.ESTABLISHED, generation: 0, mapped: true, pinned: false }
          yield {
            ...{ client, port: view.getUint16(at + 4), service: view.getUint16(at + 6), stamp: tickNow() },
            content: { identifier: view.getUint32(at + 8), ...content },
          }
        }
      },
    },
  },
}

test('a version with another struct takes routes over by its migration', world => {
  world.edge({ adopt: false }).leave()
  oldRoutes(world, 300)
  const second = world.edge({}, MIGRATIONS)
  for (let n = 0; n < 300; n++) assert.ok(hasRoute(second, n), `${n}`)
  assert.equal([world.packet(299), world.packet(300)], [tx, pass])
  assert.not.match(world.pinned('routes4'), OLD)
  second.close()
})

/** An agent that cannot start leaves all as it was. */
const refused = (world: EdgeWorld, message: RegExp, migrations?: MigrationTable): void => {
  const [listing, attached] = [world.listing, world.attached]
  assert.throws(() => world.edge({}, migrations), message)
  assert.equal(world.listing, listing)
  assert.is(world.attached, attached)
}

test('a migration that fails, and one that there is not, leave the old state in force', world => {
  const first = world.edge({ adopt: false })
  addRoute(first, 1)
  first.leave()
  const path = world.pinned('routes4')
  oldRoutes(world, 3)
  const spoilt = BpfMap.open(join(dirname(path), `map_routes4_${OLD}`))!
  using array = new MappedArray(spoilt)
  array.view.setUint16(2 * 16 + 6, 0xdead)
  array.release()
  spoilt.close()
  refused(
    world,
    /routes4 of the version before cannot be taken over \(there is no way from its form 0000000a/,
  )
  refused(world, /an entry of no service\); that version's data plane stays in force.*--flush/, MIGRATIONS)
  assert.is(world.packet(1), tx, 'the program before, with the table before')
})

test('what is none of ours under a name of ours is refused, and nothing is lost', world => {
  const first = world.edge({ adopt: false })
  addRoute(first, 1)
  first.leave()
  const path = world.pinned('routes4')
  const aside = join(world.pins.folder, 'aside')
  renameSync(path, aside)

  using hash = createMap({ type: 1, name: 'routes4', keyBytes: 4, valueBytes: 64, maxEntries: 10, flags: 0 })
  hash.pin(path)
  refused(world, /no memory-mapped array/)
  rmSync(path)
  using zeros = createMap({ type: 2, name: 'x', keyBytes: 4, valueBytes: 64, maxEntries: 10, flags: 1 << 10 })
  zeros.pin(path)
  refused(world, /the route table in the kernel has no header.*--flush/)
  rmSync(path)
  using probe = loadProbe()
  probe.program('probe').pin(path)
  refused(world, /it is a bpf-prog, not a bpf-map.*--flush/)
  rmSync(path)
  assert.is(world.packet(1), tx)

  renameSync(aside, path)
  const second = world.edge()
  assert.ok(hasRoute(second, 1))
  assert.is(world.packet(1), tx)
  second.close()
  for (const object of [hash, zeros, probe]) object.close()
})

test('when one link does not take the new program, all go on with the one before', world => {
  const first = world.edge({ adopt: false })
  addRoute(first, 1)
  first.leave()
  const [listing, attached] = [world.listing, world.attached]
  using probe = loadProbe()
  // Looks like one of ours, on the same interface, and is of another kind; it comes after ours.
  using other = world.netns.run(() => attachTcx(probe.program('probe_tc'), world.interface, 'ingress'))
  const path = join(world.pins.folder, `link_${world.interface}_native`)
  other.pin(path)
  assert.throws(() => world.edge({ sends: false }), /EINVAL/)
  rmSync(path)
  assert.equal(world.listing, listing)
  assert.is(world.attached, attached)
  assert.is(world.packet(1), tx)
  const second = world.edge()
  assert.is.not(world.attached, attached)
  assert.ok(hasRoute(second, 1))
  second.close()
  for (const object of [other, probe]) object.close()
})

test('an agent that died in the middle of taking over is taken over itself', world => {
  const first = world.edge({ adopt: false })
  addRoute(first, 1)
  first.leave()
  const { folder } = world.pins
  // It had pinned a part of its maps; then, it had begun to rename.
  mkdirSync(join(folder, 'next'))
  new EdgePins(folder)
  assert.not(world.listing.includes('next'))
  renameSync(join(folder, 'now'), join(folder, 'before'))
  const second = world.edge()
  assert.ok(hasRoute(second, 1))
  assert.is(world.packet(1), tx)
  second.close()
})

it.run()
