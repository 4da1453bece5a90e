/**
 * The fault suite itself: it sees what is broken on purpose, tells it from what goes on, and removes all it made. `make faults` measures; here
 * nothing is.
 */
// test-beside-others
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Fault, faultName, type Stage } from '../../bench/faults/contract.ts'
import { SHUNT_TOGETHER } from '../../bench/faults/drivers/shunt.ts'
import type { Outcome } from '../../bench/faults/lib/measure.ts'
import { runOne } from '../../bench/faults/lib/run-one.ts'
import { Applications, ip, newName, prepareNetwork, SERVICE_PORT } from '../../bench/faults/lib/topology.ts'
import { Lab } from '../../src/lab/lab.ts'
import { type CProgram, compileC, compiler } from '../support/c-program.ts'
import { leftovers } from '../support/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('faults')
const why = missingRoot() ?? (compiler() === null ? 'no C compiler' : undefined)
const IDLE = 200
const ACTIVE = 20
const TIMES = { holdMs: 1000, aftermathMs: 300 }
const VIP = '10.99.0.1'

const compiled = (): CProgram => {
  const file = (name: string): string => new URL(`../../bench/faults/c/${name}`, import.meta.url).pathname
  return compileC(file('flows.c'), file(''))
}

/** The least balancer there is: the router gives connections to two hosts, which have the virtual IP themselves. */
const plainStage = async (program: string): Promise<{ stage: Stage; applications: Applications }> => {
  const lab = await Lab.up({ name: newName(), agents: false, forwarders: 1, hosts: 2, combine: 'fc' })
  await prepareNetwork(lab)
  const applications = new Applications(lab, program)
  await applications.startAll()
  for (const { netns } of lab.hosts) await ip(netns, [`addr add ${VIP}/32 dev lo`])
  await lab.setForwarders(
    VIP,
    lab.hosts.map(({ address }) => address!),
  )
  const nothing = async (): Promise<void> => {}
  const stage: Stage = {
    ...{ lab, vip: VIP, port: SERVICE_PORT, faults: [] },
    ...{ shift: nothing, settled: nothing, down: () => lab.down(0) },
  }
  return { stage, applications }
}

const NOTHING: Fault = { component: 'network', way: 'killed', strike: async () => {}, heal: async () => {} }

testIf(why, it, 'controls: each kind of harm is seen, and only that', async () => {
  using program = compiled()
  const { stage, applications } = await plainStage(program.path)
  try {
    const load = { program: program.path, idle: IDLE, active: ACTIVE, ...TIMES }
    const run = (fault: Partial<Fault>): Promise<Outcome> => runOne(stage, { ...NOTHING, ...fault }, load)
    const broken = ({ brokenIdle, brokenActive }: Outcome): number => brokenIdle + brokenActive

    const frozen = await run({
      strike: async () => void applications.process('h1').kill('SIGSTOP'),
      heal: async () => void applications.process('h1').kill('SIGCONT'),
    })
    assert.is(broken(frozen), 0)
    assert.ok(frozen.stallMs >= TIMES.holdMs - 200, `an active connection waited ${frozen.stallMs} ms`)
    assert.ok(frozen.newHeldMs > 0, 'new ones waited too')

    const spoilt = await run({ atOnce: true, strike: async () => applications.spoil('h2', 3) })
    assert.is(spoilt.causes['wrong bytes'], broken(spoilt))
    assert.ok(broken(spoilt) > 0)

    const killed = await run({
      strike: async () => applications.kill('h1'),
      heal: () => applications.start('h1'),
    })
    assert.ok(killed.brokenIdle > 0 && killed.brokenActive > 0, JSON.stringify(killed))
    assert.ok(broken(killed) < IDLE + ACTIVE, 'those of the other host go on')
    assert.is(killed.own, 0)
    assert.ok(killed.newFailed > 0)
  } finally {
    await stage.down()
  }
  assert.equal(leftovers(stage.lab.name), [])
})

testIf(why, it, 'shunt by its driver: an agent is killed, and nothing breaks', async () => {
  using program = compiled()
  const load = { program: program.path, idle: IDLE, active: ACTIVE, ...TIMES }
  const stage = await SHUNT_TOGETHER.up({
    ...{ connections: IDLE + ACTIVE, program: program.path },
    say: () => {},
  })
  try {
    const fault = stage.faults.find(one => faultName(one) === 'whole node process killed')!
    const { causes, own, newAll } = await runOne(stage, fault, load)
    assert.equal([causes, own], [{}, 0])
    assert.ok(newAll > 0)
  } finally {
    await stage.down()
  }
  assert.equal(leftovers(stage.lab.name), [])
})

it.run()
