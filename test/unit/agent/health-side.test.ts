/** What the shell of health and load passes on: orders to a table that begins anew, a suspension to the leases (R-B6). */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Course } from '../../../src/agent/cluster/course.ts'
import { EventLog } from '../../../src/agent/events.ts'
import { HealthSide } from '../../../src/agent/health/health-side.ts'
import type { DirectiveOrder } from '../../../src/cluster/types.ts'
import { groups, overload } from '../../../src/config/health-fields.ts'
import type { PeerLinks } from '../../../src/gossip/links-api.ts'

const it = suite('health side')

let server: Server
let port = 0
it.before(async () => {
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
const stateDir = mkdtempSync(join(tmpdir(), 'shunt-health-'))
it.after(() => {
  server.close()
  rmSync(stateDir, { recursive: true })
})

const links = {
  id: 'id-of-h1',
  states: () => [],
  send: () => true,
  onFrame: () => {},
  onChange: () => {},
} as unknown as PeerLinks

interface Document {
  groups?: object
  overload?: object
}

const course = (roles: string[], directives: DirectiveOrder[], document: Document = {}): Course =>
  ({
    config: {
      node: { name: 'h1', stateDir },
      addresses: { cluster: '127.0.0.1' },
      roles,
      peers: [],
      groups: groups.parse(document.groups ?? {}),
      overload: overload.parse(document.overload ?? {}),
      services: [
        { name: 'web', vip: '127.0.0.1', port, protocol: 'tcp', hosts: [{ name: 'h1', capacity: 50 }] },
      ],
    },
    leaving: new Set(),
    directives,
  }) as unknown as Course

const order = (app: string, state: DirectiveOrder['state']): DirectiveOrder =>
  ({ app, state }) as DirectiveOrder
const HOST = ['host', 'classifier']

const setUp = (directives: DirectiveOrder[]) => {
  const leases: { host: string; isOver: boolean }[] = []
  const events = new EventLog(100, Date.now)
  const side = new HealthSide(course(HOST, directives), {
    links,
    events,
    log: pino({ level: 'silent' }),
    isDead: () => false,
    allot: async () => {},
    leases: untilMs => {
      for (const [host, at] of untilMs) leases.push({ host, isOver: at <= performance.now() })
    },
    orders: () => [],
  })
  side.start()
  const row = () => side.node.host?.rows()[0]
  const until = async (what: string, isSo: () => boolean): Promise<void> => {
    for (let i = 0; i < 1_000 && !isSo(); i++) await delay(5)
    assert.ok(isSo(), `${what}: ${JSON.stringify(row())}`)
  }
  return { side, events, leases, row, until }
}

for (const app of ['*', 'web'])
  it(`an order for ${app === '*' ? 'all applications' : 'one'} outlives the host role`, async () => {
    const directives = [order(app, 'draining')]
    const { side, row, until } = setUp(directives)
    try {
      await until('drained', () => row()?.target === 'draining' && row()?.cause === 'order')
      const before = side.node.host
      side.follow(course(['classifier'], directives))
      assert.is(side.node.host, null)
      side.follow(course(HOST, directives))
      assert.is.not(side.node.host, before)
      await until('drained again', () => row() !== undefined)
      assert.equal([row()?.target, row()?.cause], ['draining', 'order'])
      side.follow(course(HOST, []))
      await until('no order any more', () => row()?.target === 'active')
      side.follow(course(['classifier'], []))
      side.follow(course(HOST, []))
      await until('a new table', () => row() !== undefined)
      assert.is(row()?.target, 'active', 'what was taken back stays so')
    } finally {
      side.stop('test')
    }
  })

it('a machine that slept ends its leases before it tells of any, and ties them anew', async () => {
  const { side, leases, until } = setUp([])
  const { now } = Date
  const { node } = side
  const step = node.step.bind(node)
  const steps: string[] = []
  try {
    await until('a lease', () => leases.length > 0)
    assert.ok(leases.every(({ isOver }) => !isOver))
    node.step = (event, nowMs) => {
      steps.push(event.on)
      const result = step(event, nowMs)
      // Asleep from when a lease waits to be told; its wall clock is set once it is awake.
      if (result.actions.some(action => action.do === 'lease')) {
        if (Date.now === now) leases.length = steps.length = 0
        Date.now = () => now() + 3_600_000
      }
      return result
    }
    await until('asleep', () => Date.now !== now)
    const asked = node.unit!.counters.snapshots_asked!
    await until('told', () => leases.length > 0)
    assert.is(steps[0], 'stood-still')
    assert.is(node.unit!.counters.snapshots_asked, asked + 1)
    // Of itself it knows at once.
    assert.equal(leases[0], { host: 'h1', isOver: false })
    assert.is(steps.filter(on => on === 'stood-still').length, 1)
  } finally {
    Date.now = now
    side.stop('test')
  }
})

it('what a new document says of overload and groups is in force at once; what it does not change is not told again', async () => {
  const written = (): number => Number(readFileSync(join(stateDir, 'lease-beats'), 'utf8'))
  const { side, until } = setUp([])
  const step = side.node.step.bind(side.node)
  const told: string[] = []
  side.node.step = (event, nowMs) => {
    if (event.on === 'settings' || event.on === 'members') told.push(event.on)
    return step(event, nowMs)
  }
  const leaseMs = () => side.node.host?.hold.leaseMs
  try {
    await until('a row', () => side.node.host?.rows().length === 1)
    assert.equal([leaseMs(), written()], [3000, 3])
    side.follow(course(HOST, []))
    assert.equal(told.splice(0), ['members'])
    side.follow(course(HOST, [], { groups: { heartbeats: 'changes' } }))
    assert.equal(told.splice(0), ['settings', 'members'])
    assert.equal([leaseMs(), written()], [13_000, 13])
    side.follow(course(HOST, [], { groups: { direct: 0 } }))
    assert.equal([leaseMs(), written()], [3000, 13], 'units may have longer leases for a while')
    side.stop('test')
    const next = setUp([])
    try {
      const { host } = next.side.node
      const now = performance.now()
      assert.ok(host!.hold.untilMs(now - 9000) > now, 'nor does an agent that starts again forget them')
    } finally {
      next.side.stop('test')
    }
  } finally {
    side.node.step = step
    side.stop('test')
  }
})

it('the leader of the group is shown and told of', async () => {
  const { side, events, until } = setUp([])
  try {
    assert.is(side.group(), null)
    side.follow(course(HOST, [], { groups: { direct: 0 } }))
    assert.equal([side.group()?.leader, side.group()?.members], [null, ['h1']])
    await until('a leader', () => side.group()?.leader === 'h1')
    assert.is(side.view().group?.leader, 'h1')
    side.follow(course(HOST, []))
    assert.is(side.group(), null)
    const rows = events.query({ after: 0, limit: 100 }).events.filter(({ kind }) => kind === 'group.leader')
    assert.equal(
      rows.map(({ subject, text }) => [subject, text]),
      [
        ['h1', 'h1 leads the group of h1'],
        ['-', 'no host leads any more: each one sends its heartbeats itself'],
      ],
    )
  } finally {
    side.stop('test')
  }
})

it('a step that fails keeps no later one from its turn', () => {
  const { side } = setUp([])
  const step = side.node.step.bind(side.node)
  try {
    side.node.step = () => {
      throw new Error('on purpose')
    }
    assert.throws(() => side.stopping(), /on purpose/)
    const steps: string[] = []
    side.node.step = (event, nowMs) => {
      steps.push(event.on)
      return step(event, nowMs)
    }
    side.stopping()
    assert.is(steps[0], 'stopping')
  } finally {
    side.node.step = step
    side.stop('test')
  }
})

it.run()
