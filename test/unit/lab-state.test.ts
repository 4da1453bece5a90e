/** Labs that are not there, and whoever may not see them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../src/errors.ts'
import { type LabStatus, labTroubles, type PlaceStatus } from '../../src/lab/describe.ts'
import { labRefusal, listLabs } from '../../src/lab/state.ts'
import { shunt } from '../support/cli.ts'
import { testIf } from '../support/skip.ts'

const it = suite('lab-state')

it('only what has a file of a lab is one; no directory: none', () => {
  const dir = mkdtempSync(join(tmpdir(), 'shunt-labs-'))
  try {
    for (const name of ['b', 'a', 'half']) mkdirSync(join(dir, name))
    for (const name of ['b', 'a']) writeFileSync(join(dir, name, 'lab.json'), '{}')
    assert.equal(listLabs(dir), ['a', 'b'])
    assert.equal(listLabs(join(dir, 'none')), [])
    // What is neither there nor missing is not taken for no labs.
    assert.throws(() => listLabs(join(dir, 'a', 'lab.json')), /ENOTDIR/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

it('what only root may do is said to be', () => {
  for (const code of ['EACCES', 'EPERM']) {
    const refusal = labRefusal(Object.assign(new Error(`${code}: no`), { code }))
    assert.instance(refusal, ShuntError)
    assert.is((refusal as ShuntError).code, 'SHUNT_ERR_LAB')
    assert.match((refusal as ShuntError).message, /run this as root/)
  }
  const other = new Error('EIO')
  assert.is(labRefusal(other), other)
})

const isRoot = process.geteuid?.() === 0
testIf(
  isRoot ? undefined : 'labs are for root',
  it,
  'lab down: of a name that no lab has it fails, without a name there is nothing to do',
  async () => {
    // A name each: two at once on one name would find each other's lock.
    const name = (which: string): string => `none-${which}-${process.pid}`
    const [named, byEnv, all] = await Promise.all([
      shunt(['lab', 'down', '--name', name('flag')]),
      shunt(['lab', 'down'], { SHUNT_LAB: name('env') }),
      shunt(['lab', 'down', '--name', name('json'), '--json']),
    ])
    for (const [{ code, stderr }, which] of [
      [named, 'flag'],
      [byEnv, 'env'],
    ] as const) {
      assert.is(code, 1)
      assert.match(stderr, `error: there is no lab "${name(which)}"; `)
      assert.match(stderr, 'code: SHUNT_ERR_LAB')
    }
    assert.is(JSON.parse(all.stdout).error.code, 'SHUNT_ERR_LAB')
  },
)

it('an agent that has ended is told of with what starts the next', () => {
  const place = { name: 'f1', kind: 'node', agent: 'stopped', web: null } as PlaceStatus
  const status = { name: 'big', agents: true, places: [place] } as unknown as LabStatus
  assert.equal(labTroubles(status), [
    'the agent of f1 is stopped: shunt lab start --name big f1 starts the next one',
  ])
  assert.equal(labTroubles({ ...status, places: [{ ...place, agent: 'starting' }] }), [
    'the agent of f1 is starting',
  ])
})

it.run()
