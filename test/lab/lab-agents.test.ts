/** Labs with agents on every node, driven as a person would: by the command line and the demo (R-G5, R-A2). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { StatusData } from '../../src/control/types.ts'
import type { LabStatus } from '../../src/lab/describe.ts'
import { Lab } from '../../src/lab/lab.ts'
import { COMBINE } from '../../src/lab/options.ts'
import { type RunResult, run } from '../../src/lab/run.ts'
import { SHUNT } from '../support/cli.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('lab-agents')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)

const ROOT = join(import.meta.dirname, '..', '..')
const NODE = [process.execPath, '--no-warnings']
const shunt = (...argv: string[]): Promise<RunResult> => run([...SHUNT, ...argv])
const dataOf = <T>(result: RunResult): T => (JSON.parse(result.stdout) as { data: T }).data

/** Starts a program, signals it when it says a line, and tells its exit code. */
const interrupt = async (argv: string[], at: RegExp, signal: NodeJS.Signals) => {
  const child = spawn(NODE[0]!, [...NODE.slice(1), ...argv], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'exit') as Promise<[number | null]>
  const watch = async (stream: NodeJS.ReadableStream): Promise<void> => {
    for await (const line of createInterface(stream)) if (at.test(line)) child.kill(signal)
  }
  await Promise.all([watch(child.stdout), watch(child.stderr)])
  return { code: (await ended)[0], pid: child.pid! }
}

test('the default lab comes up and is operated by the command line', async () => {
  const name = labName()
  try {
    const startMs = performance.now()
    const up = await shunt('lab', 'up', '--name', name, '--capacities', '60,30', '--json')
    assert.is(up.code, 0, up.stderr)
    process.stdout.write(`\n  up after ${Math.round(performance.now() - startMs)} ms\n`)
    const { places } = dataOf<LabStatus>(up)
    assert.equal(
      places.filter(p => p.kind === 'node').map(p => [p.name, p.agent, p.capacity]),
      [
        ...['f1', 'f2', 'c1'].map(n => [n, 'running', null]),
        ['h1', 'running', 60],
        ['h2', 'running', 30],
        ['h3', 'running', 60],
      ],
    )
    assert.match((await shunt('lab', 'list')).stdout, new RegExp(`^${name} +6 +yes `, 'm'))

    const url = 'http://10.99.0.1/'
    const body = await shunt(
      'lab',
      'exec',
      '-n',
      name,
      'client1',
      '--',
      'curl',
      '-sS',
      '--max-time',
      '5',
      url,
    )
    assert.match(body.stdout, /^h[123]\n$/, body.stderr)
    const inside = await shunt(
      'lab',
      'exec',
      '-n',
      name,
      'h2',
      '--',
      'sh',
      '-c',
      'echo "$SHUNT_SOCKET"; exit 7',
    )
    assert.is(inside.code, 7)
    assert.is(inside.stdout, `/run/shunt-lab/${name}/h2/control.sock\n`)
    const asked = await shunt('lab', 'exec', '-n', name, 'c1', '--', 'shunt', 'status', '--json')
    assert.is(dataOf<StatusData>(asked).node, 'c1', asked.stderr)
    const nowhere = await shunt('lab', 'exec', '-n', name, 'h9', '--', 'true')
    assert.is(nowhere.code, 1)
    assert.match(nowhere.stderr, /has no "h9"; it has/)

    const lab = Lab.attach(name)
    assert.is(lab.process('f2')!.pid, places.find(p => p.name === 'f2')!.pid)
    const killed = await shunt('lab', 'stop', '-n', name, 'f2', '--kill')
    assert.equal([killed.code, killed.stdout], [0, 'killed: f2\n'], killed.stderr)
    const degraded = await shunt('lab', 'status', '-n', name)
    assert.is(degraded.code, 3, degraded.stderr)
    assert.match(degraded.stderr, 'the agent of f2 is stopped')
    const again = await shunt('lab', 'stop', '-n', name, 'f2')
    assert.equal([again.code, again.stdout], [0, ''])
    assert.match(again.stderr, 'the agent of f2 does not run')
    const started = await shunt('lab', 'start', '-n', name, 'f2')
    assert.equal([started.code, started.stdout], [0, 'started: f2\n'], started.stderr)
    const client = await shunt('lab', 'stop', '-n', name, 'c1', 'client1')
    assert.match(client.stderr, 'client1 is no node')
    assert.is((await shunt('lab', 'status', '-n', name)).code, 0)

    const ended = await shunt('lab', 'stop', '-n', name, 'c1')
    assert.equal([ended.code, ended.stdout], [0, 'stopped: c1\n'], ended.stderr)
    await lab.startAgent('c1')
    const first = await lab.api<StatusData>('c1', '/v1/status')
    await lab.restartAgent('c1')
    const second = await lab.api<StatusData>('c1', '/v1/status')
    assert.is(second.state, 'running')
    assert.is.not(second.pid, first.pid)
    assert.is((await lab.shunt('c1', ['status'])).code, 0)
  } finally {
    const down = await shunt('lab', 'down', '--name', name)
    assert.is(down.code, 0, down.stderr)
    const again = await shunt('lab', 'down', '--name', name)
    assert.is(again.code, 1)
    assert.match(again.stderr, `there is no lab "${name}"`)
  }
  assert.equal(leftovers(name), [])
})

for (const combine of COMBINE)
  test(`a lab with roles combined by "${combine}" serves its virtual IP`, async () => {
    const lab = await Lab.up({ name: labName(), combine, hosts: 2 })
    try {
      const got = await lab.exec(lab.client(), [
        ...['curl', '-sS', '-H', 'Connection: close', '--max-time', '5'],
        'http://10.99.0.1/addr?n=[1-20]',
      ])
      assert.is(got.stdout, '10.20.0.11\n'.repeat(20), got.stderr)
    } finally {
      await lab.down()
    }
    assert.equal(leftovers(lab.name), [])
  })

test('a node file can be changed before the start and for the next one', async () => {
  const lab = await Lab.up({
    ...{ name: labName(), forwarders: 1, hosts: 1 },
    configure: (config, node) => {
      if (node.name === 'f1') config.limits = { flows: 1_000 }
    },
  })
  const capacity = async (): Promise<number | undefined> =>
    (await lab.api<StatusData>('f1', '/v1/status')).limits.find(limit => limit.name === 'flows')?.capacity
  try {
    assert.is(await capacity(), 1_000)
    lab.configure('f1', config => {
      config.limits = { flows: 2_000 }
    })
    await lab.restartAgent('f1')
    assert.is(await capacity(), 2_000)
  } finally {
    await lab.down()
  }
})

for (const [at, signal, code] of [
  [/^network/, 'SIGINT', 130],
  [/^agents/, 'SIGINT', 130],
  [/^agents/, 'SIGTERM', 143],
] as const)
  test(`"lab up" that gets ${signal} at "${at.source}" leaves nothing`, async () => {
    const name = labName()
    try {
      const ended = await interrupt(['src/main.ts', 'lab', 'up', '--name', name], at, signal)
      assert.is(ended.code, code)
      assert.equal(leftovers(name), [])
    } finally {
      await Lab.down(name)
    }
  })

test('an interrupted demo leaves nothing', async () => {
  const ended = await interrupt(['scripts/demo.ts'], /^started/, 'SIGINT')
  assert.is(ended.code, 130)
  assert.equal(leftovers(`demo-${ended.pid}`), [])
})

it.run()
