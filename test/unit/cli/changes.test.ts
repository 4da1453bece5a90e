/** plan, apply, rollback and config against an agent with fixed data that takes what is submitted. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { inForceText } from '../../../src/cli/change/apply.ts'
import { createOperatorKey } from '../../../src/cluster/operator-key.ts'
import { statementHash, verifyStatement } from '../../../src/cluster/statement.ts'
import { type ControlServer, startControlServer } from '../../../src/control/server.ts'
import type { ConfigData, ConfigQuery, SubmitBody, SubmitData } from '../../../src/control/types.ts'
import { ShuntError } from '../../../src/errors.ts'
import { type CliResult, collect, SHUNT, shunt } from '../../support/cli.ts'
import { CLUSTER, CONFIG, FakeView, NODES } from '../../support/fake-view.ts'

const it = suite('cli/changes')
const dir = mkdtempSync(join(tmpdir(), 'shunt-changes-'))
const SHUNT_SOCKET = join(dir, 'control.sock')
const SHUNT_OPERATOR_KEY = join(dir, 'operator.key')
const env = { SHUNT_SOCKET, SHUNT_OPERATOR_KEY }
const operator = createOperatorKey(SHUNT_OPERATOR_KEY)

const EARLIER: ConfigData = {
  ...CONFIG,
  revision: 1,
  hash: CONFIG.parent,
  parent: '',
  text: 'version: 1\n',
  state: 'past',
}

/** Takes a document as a cluster would whose other nodes follow after `lag` looks (Infinity: never). */
class ClusterView extends FakeView {
  lag = 0
  override config(query: ConfigQuery): Promise<ConfigData> {
    this.configQueries.push(query)
    if (query.revision !== undefined) return Promise.resolve(EARLIER)
    const { config } = this.data
    if (config.revision > CONFIG.revision && this.lag-- > 0)
      return Promise.resolve({
        ...config,
        rollout: config.rollout.map(r => (r.node === 'h1' ? { ...r, revision: CONFIG.revision } : r)),
      })
    return Promise.resolve(config)
  }
  override async submit(body: SubmitBody): Promise<SubmitData> {
    const answer = await super.submit(body)
    for (const statement of body.statements)
      if (statement.body.kind === 'config') {
        const { revision, parent, text, note } = statement.body
        const rollout = CONFIG.rollout.map(r => ({ ...r, revision: r.revision === null ? null : revision }))
        this.data.config = {
          ...CONFIG,
          revision,
          parent,
          text,
          note,
          hash: statementHash(statement),
          rollout,
        }
      }
    return answer
  }
}

let server: ControlServer
let view: ClusterView
it.before.each(async () => {
  view = new ClusterView()
  view.data.cluster = { ...CLUSTER, cluster: operator.cluster }
  server = await startControlServer({ socketPath: SHUNT_SOCKET, view, node: 'f1', log: { error: () => {} } })
})
it.after.each(() => server.close())
it.after(() => rmSync(dir, { recursive: true }))

const fileOf = (text: string): string => {
  const file = join(dir, 'cluster.yaml')
  writeFileSync(file, text)
  return file
}
const MORE = CONFIG.text.replace('port: 80', 'port: 8080')
const CHANGE = '~ service web: 10.99.0.1:80/tcp -> 10.99.0.1:8080/tcp\n'
const submittedBody = () => {
  assert.is(view.submitted.length, 1)
  const [statement] = view.submitted[0]!.statements
  assert.is(verifyStatement(statement!, operator.cluster), undefined)
  assert.is(statement!.by, 'operator')
  const { body } = statement!
  assert.is(body.kind, 'config')
  return body as typeof body & { kind: 'config' }
}
/** Every node is heard. */
const allHeard = (): void => {
  view.data.config = { ...CONFIG, rollout: CONFIG.rollout.filter(r => r.revision !== null) }
}

it('plan shows changes and signs nothing', async () => {
  const same = await shunt(['plan', '-f', fileOf(`# a remark\n${CONFIG.text}`)], env)
  assert.equal(same, { code: 0, stdout: 'nothing to change: revision 2 says the same\n', stderr: '' })
  const file = fileOf(MORE)
  assert.equal(await shunt(['plan', '-f', file], env), {
    code: 0,
    stdout: CHANGE,
    stderr: '1 change to revision 2\n',
  })
  assert.is((await shunt(['plan', '-f', file, '--exit-code'], env)).code, 3)
  const { data, schema } = JSON.parse((await shunt(['plan', '-f', file, '--json'], env)).stdout)
  assert.is(schema, 'shunt.plan/1')
  assert.equal(data.changes, [
    { action: 'change', kind: 'service', name: 'web', text: '10.99.0.1:80/tcp -> 10.99.0.1:8080/tcp' },
  ])
  assert.equal(view.submitted, [])
})

it('plan: what is wrong has its line, what is odd is a warning', async () => {
  const taken = await shunt(['plan', '-f', fileOf(MORE.replace('10.99.0.1', '10.10.0.31'))], env)
  assert.is(taken.code, 1)
  assert.match(
    taken.stderr,
    /cluster\.yaml:5:23 services\[0\]\.vip: 10\.10\.0\.31 is the address of h1; a virtual IP must be its own\n/,
  )
  const odd = await shunt(['plan', '-f', fileOf(CONFIG.text.replace('name: h2', 'name: h7'))], env)
  assert.is(odd.code, 0)
  assert.match(odd.stderr, 'warning: host h7 of pool pool is no member of the cluster')
  // Of the file alone it is said also where no agent answers.
  const away = { SHUNT_SOCKET: join(dir, 'none.sock') }
  assert.is((await shunt(['plan', '-f', fileOf('version: 3')], away)).code, 1)
  assert.is((await shunt(['plan', '-f', fileOf(MORE)], away)).code, 4)
})

/** With a text on standard input. */
const fed = (args: string[], input: string | Buffer): Promise<CliResult> => {
  const child = spawn(SHUNT[0]!, [...SHUNT.slice(1), ...args], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', NO_COLOR: '1', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.end(input)
  return collect(child)
}

it('plan and apply read standard input where the file is -', async () => {
  allHeard()
  const plan = await fed(['plan', '-f', '-'], MORE)
  assert.equal(plan, { code: 0, stdout: CHANGE, stderr: '1 change to revision 2\n' })
  const wrong = await fed(['plan', '-f', '-'], 'version: 3')
  assert.is(wrong.code, 1)
  assert.match(wrong.stderr, /^error: standard input:1:10 version: /)
  const bytes = await fed(['plan', '-f', '-'], Buffer.from([0x76, 0xff, 0xfe]))
  assert.is(bytes.code, 2)
  assert.match(bytes.stderr, /not text in UTF-8/)
  assert.is((await fed(['apply', '-f', '-'], MORE)).code, 5, 'nobody can be asked')
  assert.equal(view.submitted, [])
  const done = await fed(['apply', '-f', '-', '--yes', '--wait', '0'], MORE)
  assert.is(done.code, 0, done.stderr)
  assert.is(submittedBody().text, MORE)
})

it('plan and apply say that they need a document, and which one is not there', async () => {
  for (const command of ['plan', 'apply']) {
    const none = await shunt([command], env)
    assert.is(none.code, 2)
    assert.match(none.stderr, /^error: say which cluster document: -f FILE \(- is standard input\)$/m)
    const away = await shunt([command, '-f', join(dir, 'none.yaml')], env)
    assert.is(away.code, 1)
    assert.match(away.stderr, /^error: there is no file .*none\.yaml$/m)
  }
})

it('apply signs the next revision against the one in force, and waits for the nodes', async () => {
  allHeard()
  view.lag = 2
  const file = fileOf(MORE)
  const done = await shunt(['apply', '-f', file, '--note', 'new port', '--expect', '2', '--yes'], env)
  assert.is(done.stderr, 'warning: the agent of h2 cannot be heard; it follows when it comes back\n')
  assert.is(done.stdout, `${CHANGE}revision 3 is accepted\n`)
  assert.is(done.code, 3)
  const { atMs, ...body } = submittedBody()
  assert.equal(body, {
    kind: 'config',
    revision: 3,
    parent: CONFIG.hash,
    text: MORE,
    note: 'new port',
  })
  assert.ok(Math.abs(atMs - Date.now()) < 60_000)
  const again = await shunt(['apply', '-f', file, '--yes'], env)
  assert.equal(again, { code: 0, stdout: 'nothing to change: revision 3 says the same\n', stderr: '' })
  assert.is(view.submitted.length, 1)
})

it('apply: a node that is late gives 124, --wait 0 does not wait', async () => {
  view.lag = Number.POSITIVE_INFINITY
  const late = await shunt(['apply', '-f', fileOf(MORE), '--yes', '--wait', '300'], env)
  assert.is(late.code, 124)
  assert.match(late.stderr, 'warning: h1 does not have revision 3 in force yet\n')
  view.data.config = CONFIG
  const { code, stderr } = await shunt(['apply', '-f', fileOf(MORE), '--yes', '--wait', '0'], env)
  assert.equal({ code, stderr }, { code: 0, stderr: '' })
})

it('apply needs a yes, the right revision and the right key; --dry-run and refusals change nothing', async () => {
  const file = fileOf(MORE)
  const unasked = await shunt(['apply', '-f', file], env)
  assert.is(unasked.code, 5)
  assert.match(unasked.stderr, 'Apply 1 change as revision 3? Nobody can be asked here: give --yes')
  const expected = await shunt(['apply', '-f', file, '--yes', '--expect', '1'], env)
  assert.is(expected.code, 5)
  assert.match(expected.stderr, 'revision 2 is in force, not 1')
  assert.match(expected.stderr, 'code: SHUNT_ERR_CONFLICT')
  const dry = await shunt(['apply', '-f', file, '--dry-run'], { SHUNT_SOCKET })
  assert.equal(dry, { code: 0, stdout: CHANGE, stderr: '1 change; not applied (--dry-run)\n' })
  createOperatorKey(join(dir, 'other.key'))
  const other = await shunt(['apply', '-f', file, '--yes', '--operator-key', join(dir, 'other.key')], env)
  assert.is(other.code, 5)
  assert.match(other.stderr, 'the operator key is of the cluster')
  const none = await shunt(['apply', '-f', file, '--yes', '--operator-key', join(dir, 'none.key')], env)
  assert.is(none.code, 1)
  const long = await shunt(['apply', '-f', file, '--yes', '--note', 'x'.repeat(1001)], env)
  assert.is(long.code, 2)
  view.data.nodes = { ...NODES, mode: 'static' }
  const fixed = await shunt(['apply', '-f', file, '--yes'], env)
  assert.is(fixed.code, 5)
  assert.match(fixed.stderr, 'the cluster of f1 is static')
  assert.equal(view.submitted, [])
})

it('apply: another change that came first, or wins later, is a conflict', async () => {
  view.submit = () => Promise.reject(new ShuntError('SHUNT_ERR_CONFLICT', 'revision 3 is in force now'))
  const first = await shunt(['apply', '-f', fileOf(MORE), '--yes'], env)
  assert.is(first.code, 5)
  assert.match(first.stderr, 'revision 3 is in force now')
  view.submit = async () => {
    view.data.config = { ...CONFIG, revision: 3, text: 'version: 1\n# theirs\n' }
    return { accepted: 1, known: 0 }
  }
  const lost = await shunt(['apply', '-f', fileOf(MORE), '--yes'], env)
  assert.is(lost.code, 5)
  assert.match(lost.stderr, 'revision 3 of another operator came at the same time and won')
})

it('the first document', async () => {
  view.data.config = { ...CONFIG, revision: 0, hash: '', parent: '', text: '', state: 'none', rollout: [] }
  const done = await shunt(['apply', '-f', fileOf(CONFIG.text), '--yes', '--expect', '0'], env)
  assert.match(
    done.stdout,
    /^\+ service web: .*\n\+ pool pool\n\+ host pool\/h1: .*\n\+ host pool\/h2: .*\nrevision 1 is accepted\n/,
  )
  const { revision, parent } = submittedBody()
  assert.equal({ revision, parent }, { revision: 1, parent: '' })
  view.data.config = { ...view.data.config, revision: 0, text: '', state: 'none' }
  const back = await shunt(['rollback', '--yes'], env)
  assert.is(back.code, 5)
  assert.match(back.stderr, 'no document was applied yet')
  assert.match((await shunt(['config', 'show'], env)).stderr, 'no document was applied yet')
})

it('rollback applies the earlier text as a new revision', async () => {
  const done = await shunt(['rollback', '--yes', '--json'], env)
  assert.is(done.code, 3, done.stderr)
  assert.equal(view.configQueries[1], { revision: CONFIG.parent })
  const { data } = JSON.parse(done.stdout)
  assert.equal([data.applied, data.revision], [true, 3])
  const { text, note, parent } = submittedBody()
  assert.equal(
    { text, note, parent },
    { text: EARLIER.text, note: 'rollback to revision 1', parent: CONFIG.hash },
  )
  view.data.config = CONFIG
  await shunt(['rollback', '1', '--yes', '--note', 'why'], env)
  assert.equal(
    view.configQueries.findLast(q => q.revision !== undefined),
    { revision: '1' },
  )
  assert.is((await shunt(['rollback', 'x1', '--yes'], env)).code, 2)
})

it('a document reaches a program as it is, and what others wrote reaches a terminal without its escapes', async () => {
  const text = `${CONFIG.text}# \x1b[2J\u202e\n`
  view.data.config = {
    ...CONFIG,
    text,
    note: 'a\x1b]0;title\x07b\nwarning: all is lost\u202e',
    warnings: ['host x\nerror: y\x1b[1A'],
  }
  const { stdout, stderr } = await shunt(['config', 'show'], env)
  assert.is(stdout, text)
  assert.is(
    stderr,
    `revision 2 (current), applied ${CONFIG.appliedAt}: ab warning: all is lost\nwarning: host x error: y\n`,
  )
  const json = (await shunt(['config', 'show', '--json'], env)).stdout
  for (const order of ['\x1b', '\u202e']) assert.not.ok(json.includes(order))
  assert.equal(JSON.parse(json).data, view.data.config)
  // On a terminal, with util-linux script(1).
  const terminal = await collect(
    spawn('script', ['-qec', `${SHUNT.join(' ')} config show`, '/dev/null'], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  assert.is(terminal.code, 0)
  assert.ok(terminal.stdout.startsWith(CONFIG.text.replaceAll('\n', '\r\n')), terminal.stdout)
  for (const order of ['\x1b[2J', '\u202e']) assert.not.ok(terminal.stdout.includes(order))
  view.data.config = CONFIG
})

it('config show and history', async () => {
  const shown = await shunt(['config', 'show'], env)
  assert.is(shown.code, 0)
  assert.is(shown.stdout, CONFIG.text)
  assert.is(shown.stderr, `revision 2 (current), applied ${CONFIG.appliedAt}: second host\n`)
  assert.is((await shunt(['config', 'show', '1'], env)).stdout, EARLIER.text)
  assert.equal(JSON.parse((await shunt(['config', 'show', '--json'], env)).stdout).data, CONFIG)
  assert.is((await shunt(['config', 'show', 'abc'], env)).code, 2)
  const { code, stdout } = await shunt(['config', 'history'], env)
  assert.is(code, 0)
  assert.match(stdout, /^REVISION {2}STATE {4}APPLIED .*HASH .*SIZE {2}NOTE\n +2 {2}current .*second host\n/)
})

it('config check and config schema know both kinds of files', async () => {
  const managed = `version: 1
node: { name: c1, identityFile: /etc/shunt/identity.key }
interfaces: { cluster: [eth0] }
addresses: { cluster: 10.10.0.21 }
`
  const node = await shunt(['config', 'check', fileOf(managed)])
  assert.match(node.stdout, /: ok \(node c1, of a managed cluster\)\n$/)
  const document = await shunt(['config', 'check', fileOf(CONFIG.text)])
  assert.match(document.stdout, /: ok \(cluster document, 1 service, 1 pool\)\n$/)
  const forced = await shunt(['config', 'check', fileOf(CONFIG.text), '--kind', 'node'])
  assert.is(forced.code, 1)
  const bad = await shunt(['config', 'check', fileOf('version: 1\npools: [{ name: a, host: [] }]\n')])
  assert.is(bad.code, 1)
  assert.match(bad.stderr, /cluster\.yaml:2:20 pools\[0\]\.host: unknown key \(did you mean "hosts"\?\)/)
  const empty = await shunt(['config', 'check', fileOf('# nothing yet\n---\n')])
  assert.match(
    empty.stderr,
    /the file is empty; shunt-cluster\.yaml\(5\) and shunt-node\.yaml\(5\) have examples/,
  )
  const schema = JSON.parse((await shunt(['config', 'schema', 'cluster'])).stdout)
  assert.is(schema.title, 'shunt cluster document')
  assert.is(JSON.parse((await shunt(['config', 'schema'])).stdout).title, 'shunt node file')
})

it('apply says where the effect of other health checks shows', () => {
  const change = { action: 'change', kind: 'service', name: 'web' } as const
  assert.is(inForceText(2, [{ ...change, text: 'port 80 -> 81' }]), 'in force on 2 nodes')
  assert.is(
    inForceText(2, [{ ...change, text: 'health.type none -> http' }]),
    'in force on 2 nodes; shunt vips shows in a few seconds whether the hosts of web pass their checks',
  )
})

it('Ctrl-C stops waiting, not the change', async () => {
  view.lag = Number.POSITIVE_INFINITY
  const child = spawn(
    SHUNT[0]!,
    [...SHUNT.slice(1), 'apply', '-f', fileOf(MORE), '--yes', '--wait', '60000'],
    { env: { ...process.env, ...env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const result = collect(child)
  child.stdout.on('data', chunk => {
    if (String(chunk).includes('is accepted')) child.kill('SIGINT')
  })
  const { code, stderr } = await result
  assert.is(code, 130)
  assert.match(stderr, 'stopped waiting; revision 3 is accepted')
})

it('completion asks the agent for names, and is silent without one', async () => {
  assert.is((await shunt(['completion', '--names', 'nodes'], env)).stdout, 'f1\nh1\nh2\n')
  assert.is((await shunt(['completion', '--names', 'services'], env)).stdout, 'web\n')
  assert.is((await shunt(['completion', '--names', 'revisions'], env)).stdout, '1\n2\n')
  const away = { SHUNT_SOCKET: join(dir, 'none.sock') }
  assert.equal(await shunt(['completion', '--names', 'hosts'], away), { code: 0, stdout: '', stderr: '' })
  assert.is((await shunt(['completion'], env)).code, 2)
  assert.is((await shunt(['completion', 'csh'], env)).code, 2)
  for (const shell of ['bash', 'zsh', 'fish'])
    assert.match((await shunt(['completion', shell], env)).stdout, 'rollback')
})

it.run()
