/** Labs come, stand side by side, and leave nothing behind (R-G5). */
// test-beside-others
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../src/errors.ts'
import { Lab, type LabOptions } from '../../src/lab/lab.ts'
import { isAlive, processesInside } from '../../src/lab/processes.ts'
import { run } from '../../src/lab/run.ts'
import { listLabs } from '../../src/lab/state.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('lab-lifecycle')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)

const VIP = '10.99.0.1'
const small: LabOptions = { agents: false, forwarders: 1, classifiers: 1, hosts: 1 }

/** Which hosts answered `count` new connections to the virtual IP. */
const answers = async (lab: Lab, count: number): Promise<string[]> => {
  const { stdout, code } = await lab.exec(lab.client(), [
    ...['curl', '-sS', '-Z', '--parallel-max', '10', '-H', 'Connection: close', '--max-time', '5'],
    ...['-o', '/dev/null', '-w', '%header{x-host}\\n', `http://${VIP}/?n=[1-${count}]`],
  ])
  assert.is(code, 0)
  return stdout.trim().split('\n')
}

/** Makes hosts take packets for the virtual IP as they are: a stand-in for forwarders. */
const takeVip = (lab: Lab): Promise<unknown> =>
  Promise.all(lab.hosts.map(h => lab.exec(h.name, ['ip', 'addr', 'add', `${VIP}/32`, 'dev', 'lo'])))

test('two labs stand side by side, each with its own network, and go without a trace', async () => {
  const [a, b] = [labName(), labName()]
  const labs = await Promise.all([
    Lab.up({ name: a, agents: false }),
    Lab.up({ name: b, agents: false, hosts: 1, combine: 'fc' }),
  ])
  try {
    for (const lab of labs) {
      assert.ok(listLabs().includes(lab.name))
      for (const from of [lab.client(), 'f1', 'router', 'h1']) {
        const told = await lab.exec(from, ['curl', '-sS', '--max-time', '5', 'http://10.10.0.71/addr'])
        assert.is(told.stdout, `${lab.place(from).address}\n`, told.stderr)
      }
      const wrote = readFileSync(lab.files('h1').webLog, 'utf8')
      assert.match(wrote, /^10\.20\.0\.11 200 GET \/addr \d+ 10\.10\.0\.71 \d+$/m)
    }
    const before = labs.flatMap(lab => processesInside(lab.places.map(p => p.netns)))
    assert.ok(before.length >= 8, 'four nginx with a worker each')
    await labs[0].down()
    assert.equal(leftovers(a), [])
    assert.is((await labs[1].exec(labs[1].client(), ['curl', '-sS', 'http://10.10.0.71/'])).stdout, 'h1\n')
    await labs[1].down()
    assert.equal(leftovers(b), [])
    assert.equal(before.filter(isAlive), [])
  } finally {
    for (const lab of labs) await lab.down(0)
  }
})

test('files, uploads and tunnel addresses work', async () => {
  const lab = await Lab.up({ ...small, name: labName() })
  try {
    for (const file of lab.webFiles) {
      const got = await lab.exec(lab.client(), [
        'sh',
        '-c',
        `curl -sS http://10.10.0.71${file.path} | sha256sum`,
      ])
      assert.is(got.stdout.split(' ')[0], file.sha256)
    }
    const file = lab.webFiles[0]
    const sent = await lab.exec(lab.client(), [
      'sh',
      '-c',
      `curl -sS http://10.10.0.71${file.path} | tee /dev/stderr 2>/dev/null | curl -sS -D - -X POST -H 'Expect:' --data-binary @- http://10.10.0.71/upload`,
    ])
    const stored = /^X-Upload: ([0-9a-f]+)/m.exec(sent.stdout)?.[1]
    assert.ok(stored, sent.stdout + sent.stderr)
    const sum = await run(['sha256sum', `${lab.files('h1').web}/uploads/${stored}`])
    assert.is(sum.stdout.split(' ')[0], file.sha256)
    const tunnel = lab.place('f1').tunnel!
    const told = await lab.exec('f1', ['curl', '-sS', '--interface', tunnel, 'http://10.10.0.71/addr'])
    assert.is(told.stdout, `${tunnel}\n`, told.stderr)
  } finally {
    await lab.down()
  }
})

test('the router spreads connections of one client over all forwarders that it is told', async () => {
  const lab = await Lab.up({ ...small, name: labName(), hosts: 3 })
  try {
    await takeVip(lab)
    const addresses = lab.hosts.map(h => h.address!)
    await lab.setForwarders(VIP, addresses)
    assert.equal([...new Set(await answers(lab, 90))].toSorted(), ['h1', 'h2', 'h3'])
    await lab.setForwarders(VIP, [addresses[1]])
    assert.equal([...new Set(await answers(lab, 20))], ['h2'])
    await lab.setForwarders(VIP, [])
    const refused = await lab.exec(lab.client(), ['curl', '-sS', '--max-time', '5', `http://${VIP}/`])
    assert.is(refused.code, 7, refused.stderr)
  } finally {
    await lab.down()
  }
})

test('a pulled cable cuts a node off, without its knowing', async () => {
  const lab = await Lab.up({ ...small, name: labName() })
  const fetch = () => lab.exec(lab.client(), ['curl', '-sS', '--max-time', '1', 'http://10.10.0.71/'])
  try {
    assert.is((await fetch()).code, 0)
    const before = await lab.linkCounters('h1')
    await lab.setLink('h1', 'down')
    assert.is((await fetch()).code, 28)
    assert.is((await lab.linkCounters('h1')).rxPackets, before.rxPackets)
    await lab.setLink('h1', 'up')
    assert.is((await fetch()).code, 0)
    assert.ok((await lab.linkCounters('h1')).rxPackets > before.rxPackets)
  } finally {
    await lab.down()
  }
})

test('exec tells exit code, output, time-out, and passes input on', async () => {
  const lab = await Lab.up({ ...small, name: labName() })
  try {
    const cat = await lab.exec('h1', ['sh', '-c', 'cat; echo err >&2; exit 7'], { input: 'in' })
    assert.equal(cat, { code: 7, stdout: 'in', stderr: 'err\n' })
    assert.is((await lab.exec('h1', ['sleep', '60'], { timeoutMs: 50 })).code, 124)
    assert.throws(() => lab.exec('h2', ['true']), /has no "h2"/)
  } finally {
    await lab.down()
  }
})

test('down twice is success, also when half is gone already', async () => {
  const lab = await Lab.up({ ...small, name: labName() })
  assert.ok(lab.kill('h1', 'SIGKILL', 'web'))
  await run(['ip', 'netns', 'delete', lab.netns('f1')])
  await run(['ip', 'netns', 'delete', lab.netns('h1')])
  assert.is(await Lab.down(lab.name), true)
  assert.equal(leftovers(lab.name), [])
  assert.is(await Lab.down(lab.name), false)
})

test('a second lab of the same name is refused and harms nothing', async () => {
  const lab = await Lab.up({ ...small, name: labName() })
  try {
    await assertRejects(Lab.up({ ...small, name: lab.name }), /is up already/)
    assert.is((await lab.exec(lab.client(), ['curl', '-sS', 'http://10.10.0.71/'])).code, 0)
  } finally {
    await lab.down()
  }
})

test('of two that build the same name at once, one does', async () => {
  const name = labName()
  const both = await Promise.allSettled([Lab.up({ ...small, name }), Lab.up({ ...small, name })])
  await Lab.down(name)
  assert.equal(both.map(r => r.status).toSorted(), ['fulfilled', 'rejected'])
  assert.equal(leftovers(name), [])
})

test('a lab that cannot be built leaves nothing, and the error shows the log', async () => {
  const name = labName()
  await assertRejects(
    Lab.up({ ...small, name, agents: true, binary: '/bin/ls', readyTimeoutMs: 5_000 }),
    /the agent of .* has ended before it was ready.*\n.*(cannot access|unrecognized option)/s,
  )
  assert.equal(leftovers(name), [])
  const failing = () => {
    throw new Error('on purpose')
  }
  await assertRejects(Lab.up({ ...small, name, configure: failing }), /on purpose/)
  assert.equal(leftovers(name), [])
})

test('a namespace of the same name that is not the lab’s is neither used nor removed', async () => {
  const name = labName()
  await run(['ip', 'netns', 'add', `${name}-h1`])
  try {
    await assertRejects(Lab.up({ ...small, name }), new RegExp(`not of a lab: ${name}-h1`))
    assert.equal(leftovers(name), [`namespace ${name}-h1`])
  } finally {
    await run(['ip', 'netns', 'delete', `${name}-h1`])
  }
})

/** Builds a lab in another process, and signals that when it says a line. */
const interrupt = async (
  name: string,
  at: RegExp,
  signal: NodeJS.Signals,
  keep: boolean,
): Promise<number | null> => {
  const options: LabOptions = { ...small, name, hosts: 3, keep }
  const helper = join(import.meta.dirname, '..', 'support', 'lab-up.ts')
  const child = spawn(process.execPath, ['--no-warnings', helper, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stderr.resume()
  const ended = once(child, 'exit') as Promise<[number | null]>
  for await (const line of createInterface(child.stdout)) if (at.test(line)) child.kill(signal)
  return (await ended)[0]
}

for (const [at, signal] of [
  [/^network/, 'SIGINT'],
  [/^applications/, 'SIGINT'],
  [/^network/, 'SIGTERM'],
] as const)
  test(`${signal} at "${at.source}" removes what was built`, async () => {
    const name = labName()
    try {
      assert.is(await interrupt(name, at, signal, true), signal === 'SIGINT' ? 130 : 143)
      assert.equal(leftovers(name), [])
    } finally {
      await Lab.down(name)
    }
  })

test('a lab of a test ends with the test’s process', async () => {
  const name = labName()
  try {
    assert.is(await interrupt(name, /^up/, 'SIGTERM', false), 143)
    assert.equal(leftovers(name), [])
  } finally {
    await Lab.down(name)
  }
})

test('a kept lab outlives its builder, and what SIGKILL leaves can be removed by anyone', async () => {
  for (const [at, keep] of [
    [/^up/, true],
    [/^applications/, false],
  ] as const) {
    const name = labName()
    assert.is(await interrupt(name, at, 'SIGKILL', keep), null)
    assert.is.not(leftovers(name).length, 0)
    if (keep)
      assert.is(
        (await Lab.attach(name).exec('client1', ['curl', '-sS', 'http://10.10.0.71/'])).stdout,
        'h1\n',
      )
    assert.is(await Lab.down(name), true)
    assert.equal(leftovers(name), [])
  }
})

async function assertRejects(promise: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => new Error('was not rejected'),
    (e: unknown) => e as Error,
  )
  assert.match(error.message, message)
  if (!/on purpose/.test(error.message)) assert.instance(error, ShuntError)
}

it.run()
