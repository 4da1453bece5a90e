/**
 * The cluster document among real agents (architecture decision 13): commands that change it, documents and statements that are
 * refused and leave no trace, and operators who change it at the same time.
 */
// test-beside-others
// test-timeout-ms: 150000
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { createOperatorKey } from '../../src/cluster/operator-key.ts'
import { MAX_DOCUMENT_BYTES, signingBytes, statementHash } from '../../src/cluster/statement.ts'
import type { Statement } from '../../src/cluster/types.ts'
import type { ConfigData, ConfigHistoryData } from '../../src/control/cluster-types.ts'
import { Lab } from '../../src/lab/lab.ts'
import type { RunResult } from '../../src/lab/run.ts'
import {
  agreed,
  applyAt,
  type ConfigBody,
  clusterOf,
  configOf,
  documentText,
  eventsOf,
  heldByAll,
  historyOf,
  names,
  nextConfig,
  operatorOf,
  partition,
  rawSubmit,
  signed,
  submit,
} from '../support/cluster-orders.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, skip, testIf } from '../support/skip.ts'
import { until, VIP } from '../support/traffic.ts'

const it = suite('cluster-document')
const RACES = 20
const COMMAND_RACES = 3
const noTerminal = (): string | undefined =>
  missingRoot() ?? (existsSync('/usr/bin/script') ? undefined : 'needs script(1), of bsdutils')

const name = labName()
let lab: Lab
/** Written where the commands of a node can read it. */
const file = (base: string, text: string): string => {
  const path = `${lab.files('f1').dir}/${base}`
  writeFileSync(path, text)
  return path
}
const webText = (capacity: number, port = 80): string =>
  documentText({ web: { h1: capacity, h2: 50, h3: 50 } }, [{ name: 'web', port, pool: 'web' }])
const ok = ({ code, stdout, stderr }: RunResult): string => {
  assert.is(code, 0, `${stdout}${stderr}`)
  return stdout
}
const json = <T>(result: RunResult): T => JSON.parse(ok(result)).data
const savedHash = (node: string): string =>
  createHash('sha256')
    .update(readFileSync(`${lab.files(node).state}/cluster.json`))
    .digest('hex')
/** Everything that must be the same after a refusal, in memory and on disk. */
const everything = async (): Promise<object> => ({
  held: await heldByAll(lab),
  saved: names(lab).map(savedHash),
  history: await historyOf(lab, 'f1'),
})
const unchangedBy = async (what: () => Promise<void>): Promise<void> => {
  const before = await everything()
  await what()
  assert.equal(await everything(), before)
}
it.before(async () => {
  lab = await Lab.up({ name, mode: 'managed', forwarders: 2, classifiers: 1, hosts: 3 })
})

it.after(async () => {
  await lab?.down(0)
  assert.equal(leftovers(name), [])
})

it('plan shows what would change and changes nothing; apply brings it to all nodes; the same again is no change', async () => {
  const changed = file('changed.yaml', webText(10))
  await unchangedBy(async () => {
    assert.is(ok(await lab.shunt('h2', ['plan', '-f', changed])), '~ host web/h1: capacity 50 -> 10\n')
    assert.is((await lab.shunt('c1', ['plan', '-f', changed, '--exit-code'])).code, 3)
    ok(await lab.shunt('h2', ['apply', '-f', changed, '--dry-run']))
    const unasked = await lab.shunt('h2', ['apply', '-f', changed])
    assert.is(unasked.code, 5, unasked.stderr)
    assert.match(unasked.stderr, /--yes/)
    const stale = await lab.shunt('h2', ['apply', '-f', changed, '--yes', '--expect', '7'])
    assert.is(stale.code, 5, stale.stderr)
    assert.match(stale.stderr, 'revision 1 is in force, not 7')
  })
  const out = ok(await lab.shunt('h2', ['apply', '-f', changed, '--yes', '--note', 'less of h1']))
  assert.match(out, 'revision 2 is accepted')
  assert.match(out, 'in force on 6 nodes')
  // Its word is true at once: nothing is waited for here.
  for (const { revision } of await heldByAll(lab)) assert.is(revision, 2)
  const [held] = [await agreed(lab)]
  await unchangedBy(async () => {
    for (const node of ['h2', 'f1']) {
      const again = ok(await lab.shunt(node, ['apply', '-f', changed, '--yes']))
      assert.match(again, 'nothing to change: revision 2 says the same')
    }
    // The same in other words.
    const reworded = file('reworded.yaml', `# the same\n${JSON.stringify(parse(webText(10)))}\n`)
    assert.match(ok(await lab.shunt('f2', ['apply', '-f', reworded, '--yes'])), 'nothing to change')
    assert.is((await lab.shunt('f2', ['plan', '-f', changed, '--exit-code'])).code, 0)
  })
  assert.equal((await agreed(lab)).digest, held!.digest)
})

it('rollback applies an earlier text as a new revision; config show and history tell of all of them', async () => {
  const first = (await configOf(lab, 'f1', '1')).text
  ok(await lab.shunt('c1', ['rollback', '--yes']))
  const held = await agreed(lab)
  assert.is(held.revision, 3)
  assert.is(ok(await lab.shunt('h3', ['config', 'show'])), first)
  assert.is(ok(await lab.shunt('h3', ['config', 'show', '2'])), webText(10))
  ok(await lab.shunt('f2', ['rollback', '2', '--yes', '--note', 'on second thought']))
  assert.is((await agreed(lab)).revision, 4)
  const { revisions } = json<ConfigHistoryData>(await lab.shunt('h1', ['config', 'history', '--json']))
  assert.equal(
    revisions.map(r => [r.revision, r.state, r.note]),
    [
      [4, 'current', 'on second thought'],
      [3, 'past', 'rollback to revision 1'],
      [2, 'past', 'less of h1'],
      [1, 'past', 'made by the lab'],
    ],
  )
  const byHash = json<ConfigData>(
    await lab.shunt('h1', ['config', 'show', revisions[2]!.hash.slice(0, 8), '--json']),
  )
  assert.is(byHash.revision, 2)
  assert.is(byHash.state, 'past')
  const shown = ok(await lab.shunt('h1', ['config', 'history']))
  assert.match(shown, /4\s+current .* on second thought/)
  for (const [argv, code, message] of [
    [['config', 'show', '99'], 2, /there is no revision 99/],
    [['rollback', 'deadbeef', '--yes'], 2, /there is no revision deadbeef/],
    [['rollback', 'x', '--yes'], 2, /x is no revision/],
  ] as const) {
    const refused = await lab.shunt('h1', [...argv])
    assert.is(refused.code, code, refused.stderr)
    assert.match(refused.stderr, message)
  }
})

const BAD_SHAPE = `version: 1
pools:
  - name: web
    hosts:
      - { name: h1, capacity: 500 }
      - { nam: h2 }
services:
  - { name: web, vip: 10.99.0.300, port: 80, protocol: tcp, pool: web }
  - { name: Web, vip: 10.99.0.2, port: 0, protocol: icmp, pool: web }
timeout: {}
`
const SHAPE_ERRORS = [
  [5, /pools\[0\]\.hosts\[0\]\.capacity: must be at most 99/],
  [6, /pools\[0\]\.hosts\[1\]\.name: is required/],
  [6, /pools\[0\]\.hosts\[1\]\.nam: unknown key/],
  [8, /services\[0\]\.vip: /],
  [9, /services\[1\]\.name: /],
  [9, /services\[1\]\.port: must be at least 1/],
  [9, /services\[1\]\.protocol: must be one of tcp, udp/],
  [10, /timeout: unknown key/],
] as const
const BAD_SENSE = `version: 1
pools:
  - name: web
    hosts: [{ name: h1 }, { name: h1 }]
services:
  - { name: web, vip: 10.99.0.1, port: 80, protocol: tcp, pool: web }
  - { name: web, vip: 10.99.0.1, port: 80, protocol: tcp, pool: wbe }
  - { name: bad, vip: 224.0.0.1, port: 80, protocol: tcp, pool: web }
`
const SENSE_ERRORS = [
  [4, /pools\[0\]\.hosts\[1\]\.name: host h1 is already used/],
  [7, /services\[1\]\.name: service name web is already used/],
  [7, /services\[1\]: virtual IP, port and protocol .* is already used/],
  [7, /services\[1\]\.pool: there is no pool wbe.*web/],
  [8, /services\[2\]\.vip: 224\.0\.0\.1 is not a unicast address/],
] as const

it('a bad document is refused whole, with the place of each error, by every command and by the agent itself', async () => {
  const nodeAddress = lab.place('h2').address!
  const cases = [
    ['shape.yaml', BAD_SHAPE, SHAPE_ERRORS],
    ['sense.yaml', BAD_SENSE, SENSE_ERRORS],
    ['broken.yaml', 'version: 1\npools: [\n', [[3, /not valid YAML/]]],
    ['taken.yaml', webText(50).replace(VIP, nodeAddress), [[15, /vip: .* is the address of h2/]]],
  ] as const
  await unchangedBy(async () => {
    for (const [name, text, errors] of cases) {
      const path = file(name, text)
      const commands = [
        ['apply', '-f', path, '--yes'],
        ['plan', '-f', path],
        // It does not know the members.
        ...(name === 'taken.yaml' ? [] : [['config', 'check', path]]),
      ]
      const results = await Promise.all(commands.map(argv => lab.shunt('f1', argv)))
      for (const [i, { code, stderr }] of results.entries()) {
        assert.is(code, 1, `${commands[i]}: ${stderr}`)
        for (const [line, message] of errors)
          assert.match(stderr, new RegExp(`${name}:${line}:\\d+ .*${message.source}`), stderr)
        assert.is(
          stderr.split('\n').filter(l => /:\d+:\d+ /.test(l)).length,
          errors.length,
          `${commands[i]}: ${stderr}`,
        )
      }
      // With a signature that holds, past the commands.
      for (const node of names(lab)) {
        const statement = signed(operatorOf(lab), await nextConfig(lab, node, text))
        const answer = await rawSubmit(lab, node, { statements: [statement] })
        assert.match(answer, /^SHUNT_ERR_STATEMENT: /, `${name} at ${node}`)
        for (const [, message] of errors) assert.match(answer, message, node)
      }
    }
  })
  assert.is((await lab.shunt('f1', ['config', 'check', file('good.yaml', webText(3))])).code, 0)
})

it('all statements of an order are taken, or none', async () => {
  await unchangedBy(async () => {
    const operator = operatorOf(lab)
    const good = signed(operator, await nextConfig(lab, 'f1', webText(33)))
    const bad = signed(operator, await nextConfig(lab, 'f1', BAD_SENSE))
    for (const statements of [
      [good, bad],
      [good, { ...good, signature: good.signature.replace(/^./, c => (c === 'A' ? 'B' : 'A')) }],
    ])
      assert.match(await rawSubmit(lab, 'f1', { statements }), /^SHUNT_ERR_STATEMENT/)
    assert.match(await rawSubmit(lab, 'f1', { statements: [] }), /^SHUNT_ERR_STATEMENT/)
    assert.match(await rawSubmit(lab, 'f1', { statements: Array(65).fill(good) }), /^SHUNT_ERR_STATEMENT/)
  })
})

it('a document of the greatest size reaches all nodes; one byte more is refused', async () => {
  const padded = (bytes: number): string => {
    const text = webText(20)
    return `${text}#${'x'.repeat(bytes - text.length - 2)}\n`
  }
  const tooLong = padded(MAX_DOCUMENT_BYTES + 1)
  await unchangedBy(async () => {
    const long = file('long.yaml', tooLong)
    for (const argv of [
      ['apply', '-f', long, '--yes'],
      ['plan', '-f', long],
    ]) {
      const refused = await lab.shunt('f1', argv)
      assert.is(refused.code, 1)
      assert.match(refused.stderr, `${MAX_DOCUMENT_BYTES + 1} bytes`)
      assert.match(refused.stderr, `at most ${MAX_DOCUMENT_BYTES}`)
    }
    const operator = operatorOf(lab)
    // Signed by hand: the product's own signer would refuse.
    const byHand = (body: ConfigBody): Statement => ({
      cluster: operator.cluster,
      by: 'operator',
      body,
      signature: Buffer.from(operator.sign(signingBytes(operator.cluster, 'operator', body))).toString(
        'base64',
      ),
    })
    const body = await nextConfig(lab, 'f1', tooLong)
    assert.match(await rawSubmit(lab, 'f1', { statements: [byHand(body)] }), /^SHUNT_ERR_STATEMENT.*131072/)
    const huge = byHand({ ...body, text: 'x'.repeat(2 * 1024 * 1024) })
    const answer = await rawSubmit(lab, 'f1', { statements: [huge] })
    assert.match(answer, /too_large|EPIPE|closed the connection/, answer)
  })
  const longest = file('longest.yaml', padded(MAX_DOCUMENT_BYTES))
  ok(await lab.shunt('f1', ['apply', '-f', longest, '--yes']))
  const held = await agreed(lab)
  assert.is(held.revision, 5)
  for (const node of names(lab)) assert.is((await configOf(lab, node)).text, padded(MAX_DOCUMENT_BYTES), node)
  await applyAt(lab, 'f2', webText(50))
  await agreed(lab)
})

it('statements that are not signed, wrongly signed, of others or of old are refused, and change nothing', async () => {
  const operator = operatorOf(lab)
  const stranger = createOperatorKey(`${lab.files('f1').dir}/stranger.key`)
  const { id } = (await clusterOf(lab, 'h1')).node
  await unchangedBy(async () => {
    const body = await nextConfig(lab, 'f1', webText(77))
    const good = signed(operator, body)
    const zeros = Buffer.alloc(64).toString('base64')
    const { signature: _, ...unsigned } = good
    const wrong: [string, unknown, RegExp][] = [
      ['no signature', unsigned, /signature/],
      ['an empty signature', { ...good, signature: '' }, /signature/],
      ['zeros', { ...good, signature: zeros }, /signature does not hold/],
      ['of another body', { ...good, body: { ...body, text: webText(78) } }, /signature does not hold/],
      ['of another revision', { ...good, body: { ...body, revision: 99 } }, /signature does not hold/],
      [
        'a stranger in the name of the operator',
        { ...signed(stranger, body), cluster: operator.cluster },
        /signature does not hold/,
      ],
      [
        'a stranger who signs for this cluster',
        signed({ ...stranger, sign: bytes => stranger.sign(bytes), cluster: operator.cluster }, body),
        /signature does not hold/,
      ],
      ['of another cluster', signed(stranger, body), /another cluster/],
      ['by a member', { ...good, by: id }, /only the operator/],
      ['one field more', { ...good, extra: 1 }, /extra/],
      ['one field more in the body', { ...good, body: { ...body, extra: 1 } }, /extra/],
      ['a kind of its own', { ...good, body: { ...body, kind: 'reboot' } }, /kind/],
    ]
    for (const node of ['f1', 'c1', 'h3'])
      for (const [what, statement, message] of wrong) {
        const answer = await rawSubmit(lab, node, { statements: [statement] })
        assert.match(answer, /^SHUNT_ERR_STATEMENT: /, `${what} at ${node}: ${answer}`)
        assert.match(answer, message, `${what} at ${node}`)
      }
    for (const body of ['', '{', 'null', '[]', '{"statements":1}', '{"statements":[null]}'])
      assert.is(await postText(lab.socket('f1'), body), 400, body)
    // By the operator, but made against something else than what is in force.
    const { revision, parent, hash } = await configOf(lab, 'f1')
    const old: Partial<ConfigBody>[] = [
      { revision: 1, parent: '' },
      { revision: 2 },
      { revision, parent },
      { revision, parent: hash },
      { revision: revision + 2, parent: hash },
      { revision: revision + 1, parent },
      { revision: revision + 1, parent: '' },
      { revision: revision + 1, parent: 'f'.repeat(64) },
      { revision: 0x7fff_ffff },
    ]
    for (const node of ['f1', 'h2'])
      for (const made of old) {
        const answer = await rawSubmit(lab, node, { statements: [signed(operator, { ...body, ...made })] })
        assert.match(answer, /^SHUNT_ERR_CONFLICT: the document in force is revision/, JSON.stringify(made))
      }
    // Bit by bit what was once said: known, and no news.
    const dir = `${lab.files('f1').state}/cluster.json`
    const saved = JSON.parse(readFileSync(dir, 'utf8')).statements as Statement[]
    const known = saved.filter(s => s.body.kind === 'config' && s.body.revision < revision)
    assert.ok(known.length >= 4, `${known.length} earlier documents`)
    assert.equal(await submit(lab, 'h2', known), { accepted: 0, known: known.length })
  })
})

/** Status that an agent answers to a body that is whatever it is. */
const postText = (socketPath: string, body: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    request({ socketPath, path: '/v1/statements', method: 'POST', headers }, res => {
      res.resume()
      res.on('end', () => resolve(res.statusCode!))
    })
      .on('error', reject)
      .end(body)
  })

it(`${RACES} times, two operators at two nodes at the same instant: one wins everywhere, the other's text is kept as lost`, async () => {
  let bothTaken = 0
  const operator = operatorOf(lab)
  for (let race = 0; race < RACES; race++) {
    const before = (await agreed(lab)).revision
    const [one, two] = race % 2 === 0 ? (['f1', 'h2'] as const) : (['c1', 'h3'] as const)
    const texts = [webText(race), webText(99 - race)]
    const statements = await Promise.all(
      [one, two].map(async (node, i) => signed(operator, await nextConfig(lab, node, texts[i]!))),
    )
    const answers = await Promise.all(
      [one, two].map((node, i) => rawSubmit(lab, node, { statements: [statements[i]] })),
    )
    const taken = answers.flatMap((answer, i) => (answer === 'taken' ? [statements[i]!] : []))
    assert.ok(taken.length > 0, `${answers}`)
    const rank = (s: Statement): string =>
      `${String((s.body as ConfigBody).atMs).padStart(16, '0')} ${statementHash(s)}`
    const winner = taken.toSorted((a, b) => (rank(a) < rank(b) ? 1 : -1))[0]!
    const held = await agreed(lab, statementHash(winner))
    assert.is(held.revision, before + 1)
    for (const answer of answers)
      if (answer !== 'taken') assert.match(answer, /^SHUNT_ERR_CONFLICT: .*shunt plan and apply again/)
    if (taken.length < 2) continue
    bothTaken++
    const loser = statementHash(taken.find(s => s !== winner)!)
    for (const node of names(lab)) {
      const row = (await historyOf(lab, node)).find(r => r.hash === loser)
      assert.is(row?.state, 'lost', node)
      const kept = await configOf(lab, node, loser.slice(0, 12))
      assert.is(kept.text, texts[statements.findIndex(s => statementHash(s) === loser)])
    }
    for (const node of [one, two])
      assert.ok(
        (await eventsOf(lab, node, 'config.lost')).some(e => e.text.includes(loser.slice(0, 8))),
        node,
      )
  }
  process.stdout.write(`\n  ${bothTaken} of ${RACES} pairs were both accepted at first\n`)
})

it(`${COMMAND_RACES} times, two apply commands at once: one says that it is in force, the other ends with 5 and says why`, async () => {
  const seen: string[] = []
  for (let race = 0; race < COMMAND_RACES; race++) {
    const before = (await agreed(lab)).revision
    const texts = [webText(40, 1000 + race), webText(40, 2000 + race)]
    const results = await Promise.all(
      ['f1', 'h2'].map((node, i) => {
        const path = file(`race-${i}.yaml`, texts[i]!)
        return lab.shunt(node, [
          'apply',
          '-f',
          path,
          '--yes',
          '--expect',
          String(before),
          '--note',
          `race ${race} ${i}`,
        ])
      }),
    )
    const codes = results.map(r => r.code)
    assert.equal(codes.toSorted(), [0, 5], results.map(r => `${r.code} ${r.stdout}${r.stderr}`).join('\n'))
    const won = codes.indexOf(0)
    assert.is((await agreed(lab)).revision, before + 1)
    for (const node of names(lab)) assert.is((await configOf(lab, node)).text, texts[won], node)
    seen.push(await toldWhy(results[1 - won]!, `race ${race} ${1 - won}`))
  }
  process.stdout.write(`\n  the losers: ${seen.join(', ')}\n`)
})

/** Why a command lost: refused at once, or accepted at first; then its text is kept. */
const toldWhy = async ({ stderr }: RunResult, note: string): Promise<string> => {
  const row = (await historyOf(lab, 'c1')).find(r => r.note === note)
  if (row === undefined) {
    assert.match(
      stderr,
      /revision \d+ .*not what this change was made against|revision \d+ is in force, not \d+/,
    )
    return 'refused'
  }
  assert.match(stderr, /of another operator came at the same time and won; nothing of yours is in force/)
  return row.state
}

testIf(
  noTerminal(),
  it,
  'an apply command whose change was accepted and loses afterwards ends with 5; its text can be applied again',
  async () => {
    const operator = operatorOf(lab)
    await agreed(lab)
    const text = webText(30, 3000)
    const path = file('late.yaml', text)
    // Of an operator whose clock is ahead: it wins whenever both are accepted.
    const atMs = Date.now() + 60_000
    const rival = signed(operator, await nextConfig(lab, 'h2', webText(31, 4000), { atMs }))
    const { revision } = rival.body as ConfigBody
    const command = lab.spawn('f1', ['script', '-qec', `shunt apply -f ${path} --note late`, '/dev/null'])
    const ended = once(command, 'exit')
    let said = ''
    command.stdout!.on('data', chunk => {
      said += chunk
    })
    await until('the question', () => (said.includes('[y/N]') ? true : undefined))
    assert.match(said, `Apply 2 changes as revision ${revision}?`)
    const cutMs = performance.now()
    const heal = await partition(lab, ['h2'])
    try {
      command.stdin!.write('y\n')
      await until('the change', async () =>
        (await configOf(lab, 'f1')).revision === revision ? true : undefined,
      )
      await submit(lab, 'h2', [rival])
    } finally {
      await heal()
    }
    process.stdout.write(`\n  h2 was cut off for ${(performance.now() - cutMs).toFixed(0)} ms\n`)
    const [code] = await ended
    assert.is(code, 5, said)
    assert.match(said, 'of another operator came at the same time and won; nothing of yours is in force')
    await agreed(lab, statementHash(rival))
    for (const node of names(lab)) {
      const row = (await historyOf(lab, node)).find(r => r.note === 'late')
      assert.is(row?.state, 'lost', node)
      assert.is((await configOf(lab, node, row!.hash.slice(0, 12))).text, text, node)
    }
    const lost = (await historyOf(lab, 'h1')).find(r => r.note === 'late')!
    ok(await lab.shunt('h1', ['rollback', lost.hash.slice(0, 12), '--yes']))
    await agreed(lab)
    for (const node of names(lab)) assert.is((await configOf(lab, node)).text, text)
  },
)

if (missingRoot() === undefined) it.run()
else skip('cluster-document', missingRoot()!)
