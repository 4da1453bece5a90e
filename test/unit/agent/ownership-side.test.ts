/** VIP ownership as an agent has it, of forwarders in one process without an uplink: orders, and what is told of moves. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EventLog } from '../../../src/agent/events.ts'
import { OwnershipSide } from '../../../src/agent/ownership/ownership-side.ts'
import type { NodeConfig, Role } from '../../../src/config/schema.ts'
import { FakeLinks } from '../../support/fake-links.ts'

const VIP = '10.99.0.1'
const ROUTED = '10.99.0.2'
const SERVICES = [
  { name: 'web', vip: VIP, port: 80, protocol: 'tcp', announce: 'arp', hosts: [] },
  { name: 'dns', vip: ROUTED, port: 53, protocol: 'udp', hosts: [] },
]

class Forwarders {
  readonly links = new FakeLinks()
  readonly sides = new Map<string, OwnershipSide>()
  readonly events = new Map<string, EventLog>()
  readonly dir = mkdtempSync(join(tmpdir(), 'shunt-vips-'))
  readonly machines = new Map<string, 'alive' | 'dead'>()

  constructor(names: readonly string[], roles: readonly Role[] = ['forwarder'], services = SERVICES) {
    for (const name of names) {
      const events = new EventLog(100, Date.now)
      const config = {
        node: { name, stateDir: mkdtempSync(join(this.dir, name)) },
        roles,
        interfaces: { uplink: ['none0'], cluster: [] },
        peers: names.filter(peer => peer !== name).map(peer => ({ name: peer, roles: ['forwarder'] })),
        services,
        timeouts: { unattended: 30_000, vipHold: 60_000 },
      } as unknown as NodeConfig
      const side = new OwnershipSide(config, {
        links: this.links.of(name, ['forwarder']),
        machine: peer => ({ state: this.machines.get(peer) ?? 'alive', rttMs: null }),
        events,
        alone: () => null,
        log: pino({ level: 'silent' }),
      })
      this.sides.set(name, side)
      this.events.set(name, events)
    }
    for (const side of this.sides.values()) side.start()
    for (const name of names) this.links.up(name)
  }

  of(name: string): OwnershipSide {
    return this.sides.get(name)!
  }

  texts(name: string): string[] {
    return this.events
      .get(name)!
      .query({ after: 0, limit: 100 })
      .events.map(({ severity, text }) => `${severity}: ${text}`)
  }

  async until(isSo: () => boolean): Promise<void> {
    const endMs = performance.now() + 20_000
    while (!isSo()) {
      if (performance.now() > endMs) throw new Error('it did not come true')
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }

  end(): void {
    for (const side of this.sides.values()) side.stop(true)
    rmSync(this.dir, { recursive: true })
  }
}

const it = suite<{
  made: Forwarders[]
  forwarders(...args: ConstructorParameters<typeof Forwarders>): Forwarders
}>('agent/ownership-side')
it.before.each(ctx => {
  ctx.made = []
  ctx.forwarders = (...args) => {
    const made = new Forwarders(...args)
    ctx.made.push(made)
    return made
  }
})
it.after.each(ctx => {
  for (const made of ctx.made) made.end()
})

const why = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    error => `${error.code} ${error.message}`,
  )

it('a virtual IP that is announced by routes is not failed over, wherever it is asked', async ctx => {
  for (const [roles, services] of [
    [['forwarder'], SERVICES],
    [['forwarder'], SERVICES.slice(1)],
    [['host'], SERVICES],
  ] as const)
    assert.is(
      await why(
        ctx
          .forwarders(['f1'], roles, [...services])
          .of('f1')
          .failover({ vip: ROUTED }),
      ),
      `SHUNT_ERR_GUARD ${ROUTED} is announced by routes (announce: routed): the router chooses its forwarder; there is nothing to fail over`,
    )
})

it('an order lasts until it is ended, by whatever forwarder that is asked; then nothing moves at once', async ctx => {
  const made = ctx.forwarders(['f1', 'f2'])
  const [f1, f2] = [made.of('f1'), made.of('f2')]
  await made.until(() => f1.holderOf(VIP) !== null && f1.holderOf(VIP) === f2.holderOf(VIP))
  assert.not(f1.isOrdered(VIP))
  const holder = f1.holderOf(VIP)!
  const other = holder === 'f1' ? 'f2' : 'f1'
  const moved = await f1.failover({ vip: VIP, to: other })
  assert.equal([moved.from, moved.to, moved.changed, moved.ordered], [holder, other, true, true])
  await made.until(() => f1.isOrdered(VIP) && f2.isOrdered(VIP))
  for (const side of [f1, f2]) {
    await f1.failover({ vip: VIP, to: other })
    const ended = await side.failover({ vip: VIP, release: true })
    assert.equal([ended.from, ended.to, ended.changed, ended.ordered], [other, other, false, false])
    await made.until(() => !f1.isOrdered(VIP) && !f2.isOrdered(VIP))
    assert.equal([f1.holderOf(VIP), f2.holderOf(VIP)], [other, other])
  }
  // Over already.
  assert.not((await f2.failover({ vip: VIP, release: true })).ordered)
})

it('a forwarder that there is not is told with those that there are', async ctx => {
  assert.is(
    await why(ctx.forwarders(['f1', 'f2']).of('f2').failover({ vip: VIP, to: 'nosuch' })),
    'SHUNT_ERR_GUARD nosuch is no forwarder; there are: f1, f2',
  )
})

it('every forwarder tells of a move, whoever holds the virtual IP', async ctx => {
  const made = ctx.forwarders(['f1', 'f2', 'f3'])
  const sides = [...made.sides.values()]
  const holds = (name: string): boolean => sides.every(side => side.holderOf(VIP) === name)
  await made.until(() => ['f1', 'f2', 'f3'].some(holds))
  const [from, to, third] = ['f1', 'f2', 'f3'].sort((a, b) => Number(holds(b)) - Number(holds(a)))
  await made.of(third!).failover({ vip: VIP, to: to! })
  const text = (name: string): string => made.texts(name).at(-1) ?? ''
  await made.until(() => made.texts(third!).length > 0 && text(from!).includes('no longer'))
  assert.is(text(from!), `info: ${from} no longer holds ${VIP}; ${to} does: by order`)
  for (const name of [to!, third!])
    assert.is(text(name), `info: ${to} holds ${VIP}, ${from} did before: by order`)
})

it.run()
