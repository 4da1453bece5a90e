/** The commands that begin, join and change a managed cluster, as a user runs them, against an issuer without an agent. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { loadCluster, saveCluster } from '../../../src/cluster/store.ts'
import { createIdentity } from '../../../src/gossip/identity.ts'
import { type CliResult, collect, SHUNT, shunt } from '../../support/cli.ts'
import { CONFIG } from '../../support/fake-view.ts'
import { Issuer } from '../../support/issuer.ts'
import { admitHost, withCluster } from '../../support/operator-cluster.ts'

const it = suite('cli/operator')
const root = mkdtempSync(join(tmpdir(), 'shunt-operator-'))
it.after(() => rmSync(root, { recursive: true }))

/** Of this machine, whatever it has. */
const REAL_LINK = readdirSync('/sys/class/net').find(link => link !== 'lo') ?? 'lo'
let count = 0
const newDir = (): string => mkdtempSync(join(root, `${count++}-`))
const setup = (dir: string): string[] => [
  '--config',
  `${dir}/etc/node.yaml`,
  '--state-dir',
  `${dir}/state`,
  '--control-socket',
  `${dir}/control.sock`,
  '--app-socket',
  `${dir}/app.sock`,
  '--cluster-interface',
  'eth0',
  // The addresses and interfaces of these tests are of no machine.
  '--unchecked',
]
/** A flag that is given twice is refused by the library: `more` replaces the default of the same name. */
const initIn = (dir: string, ...more: string[]): Promise<CliResult> => {
  const defaults = [
    '--operator-key',
    `${dir}/etc/operator.key`,
    '--name',
    'f1',
    '--address',
    '10.10.0.11',
    ...setup(dir),
  ]
  const kept = defaults.filter((_, i) => !more.includes(defaults[i - (i % 2)]!))
  return shunt(['init', ...kept, ...more])
}

it('init and join refuse addresses that other machines cannot reach', async () => {
  const dir = newDir()
  for (const [flag, ip, why] of [
    ['--address', '127.0.0.1', /^error: 127\.0\.0\.1 is a loopback address.*: give another --address$/m],
    ['--tunnel', '169.254.7.7', /^error: 169\.254\.7\.7 is a link-local address.*: give another --tunnel$/m],
    ['--address', '224.0.0.1', /^error: 224\.0\.0\.1 is not a unicast address/m],
  ] as const) {
    const { code, stderr } = await initIn(dir, flag, ip)
    assert.is(code, 2)
    assert.match(stderr, why)
  }
  assert.equal(readdirSync(dir), [])
})

it('init makes a node of this machine, once', async () => {
  const dir = newDir()
  const made = await initIn(dir, '--tunnel', '10.10.1.11', '--uplink', 'eth1')
  assert.is(made.code, 0, made.stderr)
  assert.match(made.stdout, /^cluster [\w-]{43}\nnode f1 12D3KooW\w{44}\n$/)
  for (const file of ['etc/operator.key', 'etc/identity.key', 'state/cluster.json'])
    assert.is(statSync(join(dir, file)).mode & 0o777, 0o600, file)
  const checked = await shunt(['config', 'check', `${dir}/etc/node.yaml`])
  assert.is(checked.code, 0, checked.stderr)
  const before = readFileSync(join(dir, 'state/cluster.json'), 'utf8')
  assert.is(JSON.parse(before).statements.length, 3)
  const again = await initIn(dir)
  assert.is(again.code, 5)
  assert.match(again.stderr, /operator\.key and .*identity\.key and .*node\.yaml and .*cluster\.json exist/)
  assert.is(readFileSync(join(dir, 'state/cluster.json'), 'utf8'), before)
})

it('init makes nothing when something is wrong', async () => {
  for (const [more, why] of [
    [['--roles', 'forwarder'], /role forwarder needs/],
    [['--address', '300.1.1.1'], /^error: --address: must be an IPv4 address/],
    [['--name', 'F1'], /^error: --name: must be 1 to 63/],
    [['--uplink', 'a/b'], /^error: --uplink: must be the name of a network interface/],
    [['--roles', 'hosts'], /is not a role/],
    [['--tunnel', '10.10.0.11', '--uplink', 'eth0'], /^error: --tunnel: .*10\.10\.0\.11/],
    [['--cluster-name', 'Not A Name'], /^error: --cluster-name: must be 1 to 63/],
  ] as const) {
    const dir = newDir()
    const result = await initIn(dir, ...more)
    assert.is(result.code, 2, result.stderr)
    assert.match(result.stderr, why)
    assert.not.match(result.stderr, /node\.yaml/)
    assert.equal(readdirSync(dir), [], more.join(' '))
  }
})

it('init and join take only addresses and interfaces that this machine has', () =>
  withCluster(async ({ issuer, as }) => {
    const token = (await shunt(['token', ...as])).stdout.trim()
    const dir = newDir()
    const checked = (command: string[], ...more: string[]): Promise<CliResult> =>
      shunt([
        ...command,
        ...setup(dir).filter(
          arg =>
            arg !== '--unchecked' &&
            !(more.includes('--cluster-interface') && /^(--cluster-interface|eth0)$/.test(arg)),
        ),
        ...['--name', 'h1', ...more],
      ])
    for (const command of [
      ['init', '--operator-key', `${dir}/operator.key`],
      ['join', token],
    ])
      for (const [more, why] of [
        [
          ['--address', '10.255.254.253', '--cluster-interface', 'no-such-if0'],
          /--cluster-interface no-such-if0: this machine has no such interface.*--unchecked/,
        ],
        [
          ['--address', '10.255.254.253', '--cluster-interface', REAL_LINK],
          /--address 10\.255\.254\.253: this machine does not have this address; it has .*--unchecked/,
        ],
      ] as const) {
        const result = await checked(command, ...more)
        assert.is(result.code, 2, result.stderr)
        assert.match(result.stderr, why)
        assert.equal(readdirSync(dir), [])
      }
    assert.is(issuer.view().members.length, 1, 'the token is not used')
  }))

it('init says which roles it chose', async () => {
  const chosen = await initIn(newDir())
  assert.match(chosen.stderr, /^f1 is a member as classifier, host; no forwarder: no --tunnel$/m)
  const all = await initIn(newDir(), '--tunnel', '10.10.1.11', '--uplink', 'eth0')
  assert.match(all.stderr, /^f1 is a member as forwarder, classifier, host$/m)
  const given = await initIn(newDir(), '--roles', 'host')
  assert.match(given.stderr, /^f1 is a member as host$/m)
  assert.match(given.stderr, /systemctl enable --now shunt/)
})

it('token and join: a new machine becomes a member, and may repeat itself', () =>
  withCluster(async ({ issuer, dir, as }) => {
    const token = await shunt(['token', '--expires', '5m', '--roles', 'host,classifier', ...as])
    assert.is(token.code, 0, token.stderr)
    assert.match(token.stdout, /^shunt1\.[\w-]+\n$/)
    const args = ['join', token.stdout.trim(), '--name', 'h1', '--address', '10.10.0.31', ...setup(dir)]
    const joined = await shunt(args)
    assert.is(joined.code, 0, joined.stderr)
    assert.match(joined.stderr, /h1 is a member of the cluster test as classifier, host/)
    assert.equal(
      issuer.view().members.map(m => `${m.name} ${m.roles.join(',')}`),
      ['f1 forwarder,classifier,host', 'h1 classifier,host'],
    )
    assert.is((await shunt(['config', 'check', `${dir}/etc/node.yaml`])).code, 0)
    // Its state is lost; the same command brings it back, and changes nothing in the cluster.
    const digest = issuer.ledger.digest()
    const nodeFile = readFileSync(`${dir}/etc/node.yaml`, 'utf8')
    rmSync(`${dir}/state/cluster.json`)
    const again = await shunt(args)
    assert.is(again.code, 0, again.stderr)
    assert.is(issuer.ledger.digest(), digest)
    assert.is(loadCluster(`${dir}/state`)!.statements.length, issuer.ledger.statements().length)
    assert.is(readFileSync(`${dir}/etc/node.yaml`, 'utf8'), nodeFile)
    // What says otherwise than the node file is not passed over in silence.
    const moved = args.map(arg => (arg === '10.10.0.31' ? '10.10.0.77' : arg))
    const differs = await shunt(moved)
    assert.is(differs.code, 5)
    assert.match(differs.stderr, /--address 10\.10\.0\.77 \(it says 10\.10\.0\.31\)/)
    assert.match(differs.stderr, /--anew, which removes .*node\.yaml, .*identity\.key, .*cluster\.json$/m)
    assert.is(issuer.ledger.digest(), digest)
    // The place is taken.
    const other = newDir()
    const late = await shunt([
      'join',
      token.stdout.trim(),
      '--name',
      'h2',
      '--address',
      '10.10.0.32',
      ...setup(other),
    ])
    assert.is(late.code, 1)
    assert.match(late.stderr, /the token's only use is taken.*\ncode: SHUNT_ERR_TOKEN/)
    assert.not.ok(existsSync(`${other}/etc/node.yaml`))
    assert.not.ok(existsSync(`${other}/state`))
  }))

it('a machine whose node is gone joins as a new one with --anew, once it was asked', () =>
  withCluster(async ({ issuer, dir, as }) => {
    const token = (await shunt(['token', '--uses', '3', '--roles', 'host', ...as])).stdout.trim()
    const args = ['join', token, '--name', 'h1', '--address', '10.10.0.31', ...setup(dir)]
    assert.is((await shunt(args)).code, 0)
    const { id } = issuer.view().members.find(m => m.name === 'h1')!
    const files = ['etc/node.yaml', 'etc/identity.key', 'state/cluster.json'].map(file => join(dir, file))
    const contents = (): string[] => files.map(file => readFileSync(file, 'latin1'))
    issuer.order({ kind: 'remove', id, reason: 'evicted', atMs: issuer.nowMs })
    const before = contents()
    // Only the issuer knows.
    const told = await shunt(args)
    assert.is(told.code, 1, told.stderr)
    assert.match(told.stderr, /was evicted, which is for ever/)
    for (const file of files) assert.ok(told.stderr.includes(file), file)
    const unasked = await shunt([...args, '--anew'])
    assert.is(unasked.code, 5)
    assert.match(unasked.stderr, /Remove .* of h1 \(10\.10\.0\.31\), and join as a new node\?.*--yes/)
    const wrong = await shunt([...args.map(arg => (arg === 'h1' ? 'H1' : arg)), '--anew', '--yes'])
    assert.is(wrong.code, 2)
    assert.equal(contents(), before)
    const anew = await shunt([...args, '--anew', '--yes'])
    assert.is(anew.code, 0, anew.stderr)
    for (const file of files) assert.ok(anew.stderr.includes(`removed ${file}\n`), file)
    const now = issuer.view().members.find(m => m.name === 'h1')!
    assert.is.not(now.id, id)
    assert.is(anew.stdout, `node h1 ${now.id}\n`)
    // This time it knows by itself, and without a node file it is still a node that was.
    issuer.order({ kind: 'remove', id: now.id, reason: 'evicted', atMs: issuer.nowMs })
    saveCluster(`${dir}/state`, issuer.operator.cluster, issuer.ledger.statements())
    const knows = await shunt(args)
    assert.is(knows.code, 5)
    assert.match(knows.stderr, /h1, the node of this machine, was evicted.*--anew/)
    rmSync(files[0]!)
    const rest = await shunt(args)
    assert.is(rest.code, 5)
    for (const file of files.slice(1)) assert.ok(rest.stderr.includes(file), file)
    assert.is((await shunt([...args, '--anew', '--yes'])).code, 0)
  }))

it('join --anew keeps away from a static cluster and from a running agent', () =>
  withCluster(async ({ dir, as }) => {
    const token = (await shunt(['token', ...as])).stdout.trim()
    const own = newDir()
    assert.is((await initIn(own, '--control-socket', as[1]!)).code, 0)
    const args = ['join', token, '--name', 'h1', '--address', '10.10.0.31', ...setup(own), '--anew', '--yes']
    const running = await shunt(args)
    assert.is(running.code, 5)
    assert.match(running.stderr, /an agent runs here/)
    const file = `${own}/etc/node.yaml`
    const text = readFileSync(file, 'utf8').replace(
      /^cluster:$/m,
      `roles: [host]\ncluster:\n  secrets: [{ number: 1, file: ${dir}/cluster.secret }]`,
    )
    writeFileSync(file, text)
    const fixed = await shunt(args)
    assert.is(fixed.code, 5)
    assert.match(fixed.stderr, /of a static cluster/)
    assert.is(readFileSync(file, 'utf8'), text)
    assert.ok(existsSync(`${own}/etc/identity.key`))
  }))

it('join refuses a bad token before it makes anything', async () => {
  const dir = newDir()
  for (const [token, why] of [
    ['nonsense', /not a join token/],
    ['shunt1.AAAA', /incomplete or was altered/],
  ] as const) {
    const result = await shunt(['join', token, '--name', 'h1', '--address', '10.10.0.31', ...setup(dir)])
    assert.is(result.code, 1)
    assert.match(result.stderr, why)
    assert.equal(readdirSync(dir), [])
  }
})

it('evict removes a node and rotates the secret, after a yes, once', () =>
  withCluster(async ({ issuer, as }) => {
    const id = admitHost(issuer, 'h1', '10.10.0.31')
    const asked = await shunt(['evict', 'h1', ...as])
    assert.is(asked.code, 5)
    assert.match(asked.stderr, /Evict h1 .*give --yes/)
    assert.is(issuer.view().members.length, 2)
    const done = await shunt(['evict', 'h1', '--yes', ...as])
    assert.is(done.code, 0, done.stderr)
    const view = issuer.view()
    assert.equal(
      view.departed.map(d => [d.id, d.reason]),
      [[id, 'evicted']],
    )
    assert.equal(
      view.secrets.map(s => [s.number, s.graceMs]),
      [
        [2, 1000],
        [1, 0],
      ],
    )
    const again = await shunt(['evict', 'h1', '--yes', ...as])
    assert.is(again.code, 0, again.stderr)
    assert.is(again.stdout, 'h1 is no member any more\n')
    assert.is(issuer.view().secrets.length, 2)
    const unknown = await shunt(['evict', 'h7', '--yes', ...as])
    assert.is(unknown.code, 2)
  }))

it('roles gives and takes roles, and guards the last of each', () =>
  withCluster(async ({ issuer, view, as }) => {
    admitHost(issuer, 'h1', '10.10.0.31')
    const rolesOf = (name: string): string[] => issuer.view().members.find(m => m.name === name)!.roles
    const first = await shunt(['roles', 'h1', '+classifier', '-host', ...as])
    assert.is(first.code, 0, first.stderr)
    assert.is(first.stdout, 'h1: classifier\n')
    assert.equal(rolesOf('h1'), ['classifier'])
    const second = await shunt(['roles', ...as, 'h1', '+host'])
    assert.is(second.code, 0, second.stderr)
    assert.equal(rolesOf('h1'), ['classifier', 'host'])
    assert.is(
      (await shunt(['roles', 'h1', '+host', ...as])).stdout,
      'h1: classifier, host (nothing to change)\n',
    )
    for (const [args, code, why] of [
      [['h1', '+forwarder'], 5, /has no tunnel address/],
      [['f1', '-forwarder'], 5, /No other node of the cluster is a forwarder/],
      [['h1', '+hosts'], 2, /did you mean/],
      [['h1', '+host', '-host'], 2, /both given and taken/],
      [['h1'], 2, /nothing to change/],
      [['h1', 'host'], 2, /write \+host or -host/],
      [['h9', '+host'], 2, /there is no node h9/],
    ] as const) {
      const refused = await shunt(['roles', ...args, ...as])
      assert.is(refused.code, code, refused.stderr)
      assert.match(refused.stderr, why)
    }
    const forced = await shunt(['roles', 'f1', '-forwarder', '--yes', ...as])
    assert.is(forced.code, 0, forced.stderr)
    assert.equal(rolesOf('f1'), ['classifier', 'host'])
    // Still carried out for running flows: not what the operator wants, so it can be given back.
    view.rows.set('f1', { retiring: ['forwarder'] })
    const back = await shunt(['roles', 'f1', '+forwarder', ...as])
    assert.is(back.stdout, 'f1: forwarder, classifier, host\n', back.stderr)
    assert.equal([...rolesOf('f1')].sort(), ['classifier', 'forwarder', 'host'])
  }))

it('what leaves a service without a host asks first, and says so: roles, evict, leave', () =>
  withCluster(async ({ issuer, view, as }) => {
    view.data.config = CONFIG
    admitHost(issuer, 'h1', '10.10.0.31')
    const digest = issuer.ledger.digest()
    for (const [args, why] of [
      [['roles', 'h1', '-host'], /The service web would have no host\. Take the role from h1\?/],
      [['evict', 'h1'], /The service web would have no host\. Evict h1 /],
      [['evict', 'f1'], /No other node of the cluster is a forwarder or classifier\. Evict f1 /],
    ] as const) {
      const refused = await shunt([...args, ...as])
      assert.is(refused.code, 5, refused.stderr)
      assert.match(refused.stderr, why)
    }
    const leave = await shunt(['leave', ...as.slice(0, 2)])
    assert.is(leave.code, 5)
    assert.match(leave.stderr, /No other node of the cluster is a forwarder or classifier\. Take f1 /)
    assert.is(issuer.ledger.digest(), digest)
    const forced = await shunt(['roles', 'h1', '-host', '--yes', ...as])
    assert.is(forced.code, 0, forced.stderr)
    assert.match(forced.stderr, /^warning: The service web would have no host\.$/m)
  }))

it('keys rotate adds a secret and says who does not know it', () =>
  withCluster(async ({ issuer, view, as }) => {
    admitHost(issuer, 'h1', '10.10.0.31')
    const done = await shunt(['keys', 'rotate', ...as])
    assert.is(done.code, 0, done.stderr)
    assert.is(issuer.view().secrets[0]!.number, 2)
    view.rows.set('h1', { synced: false })
    const late = await shunt(['keys', 'rotate', '--wait', '300', ...as])
    assert.is(late.code, 124)
    assert.match(late.stderr, /h1 does not know it yet/)
    view.rows.set('h1', { agent: 'dead', synced: false })
    const guarded = await shunt(['keys', 'rotate', ...as])
    assert.is(guarded.code, 5)
    assert.is(issuer.view().secrets[0]!.number, 3)
    const forced = await shunt(['keys', 'rotate', '--yes', ...as])
    assert.is(forced.code, 3)
    assert.match(forced.stderr, /h1 misses it, unless it is back within the overlap \(60 s\)/)
  }))

it('a key of another cluster signs nothing here', () =>
  withCluster(async ({ issuer, dir, as }) => {
    const other = new Issuer()
    rmSync(other.stateDir, { recursive: true })
    const file = join(dir, 'other.key')
    writeFileSync(file, other.operatorPem(), { mode: 0o600 })
    const identity = join(dir, 'identity.key')
    await createIdentity(identity)
    const kind = await shunt(['token', ...as.slice(0, 2), '--operator-key', identity])
    assert.match(kind.stderr, /identity\.key is another kind of key: the identity of a node/)
    const before = issuer.ledger.digest()
    for (const args of [['evict', 'f1'], ['roles', 'f1', '-host'], ['token'], ['keys', 'rotate']]) {
      const yes = args[0] === 'token' ? [] : ['--yes']
      const result = await shunt([...args, ...as.slice(0, 2), '--operator-key', file, ...yes])
      assert.is(result.code, 5, result.stderr)
      assert.match(result.stderr, /operator key is of the cluster/)
    }
    assert.is(issuer.ledger.digest(), before)
  }))

it('leave asks, and tells the agent', () =>
  withCluster(async ({ view, as }) => {
    const socket = as.slice(0, 2)
    assert.is((await shunt(['leave', ...socket])).code, 5)
    assert.is(view.leaves, 0)
    const left = await shunt(['leave', '--yes', ...socket])
    assert.is(left.code, 0, left.stderr)
    assert.is(view.leaves, 1)
  }))

it('nodes shows them, with exit code 3 when one is dead', () =>
  withCluster(async ({ issuer, view, as }) => {
    admitHost(issuer, 'h1', '10.10.0.31')
    const socket = as.slice(0, 2)
    const well = await shunt(['nodes', ...socket])
    assert.is(well.code, 0, well.stderr)
    assert.match(well.stdout, /^NAME +ROLES +ADDRESS +NODE +AGENT +RTT +VIPS +CONFIG +SYNC\n/)
    assert.match(well.stdout, /^h1 +host +10\.10\.0\.31 +alive +alive +0\.2ms +- +0 +yes$/m)
    view.rows.set('h1', { node: 'dead', agent: 'dead' })
    const ill = await shunt(['nodes', ...socket])
    assert.is(ill.code, 3)
    assert.match(ill.stderr, /node h1 .* is dead/)
  }))

it('backup and restore bring a node back as it was, or change nothing', async () => {
  const dir = newDir()
  assert.is((await initIn(dir)).code, 0)
  const config = ['--config', `${dir}/etc/node.yaml`]
  const file = `${dir}/f1.backup`
  const made = await shunt(['backup', file, ...config])
  assert.is(made.code, 0, made.stderr)
  assert.is(statSync(file).mode & 0o777, 0o600)
  assert.not.ok(readFileSync(file, 'utf8').includes('operator-key'))
  assert.is((await shunt(['backup', file, ...config])).code, 5)
  const text = readFileSync(file, 'utf8')
  const parts = ['etc/node.yaml', 'etc/identity.key', 'state/cluster.json']
  const contents = (): string[] => parts.map(part => readFileSync(join(dir, part), 'latin1'))
  const before = contents()

  assert.is((await shunt(['restore', file])).code, 5)
  writeFileSync(join(dir, 'state/cluster.json'), 'damaged')
  const damaged = ['', text.slice(0, -9), text.replace('"node": "f1"', '"node": "f2"'), '{}', 'null']
  for (const bad of damaged) {
    writeFileSync(`${dir}/bad.backup`, bad)
    const result = await shunt(['restore', `${dir}/bad.backup`, '--force'])
    assert.is(result.code, 1)
    assert.match(result.stderr, /cannot be restored.*\ncode: SHUNT_ERR_STATE/)
    assert.is(readFileSync(join(dir, 'state/cluster.json'), 'utf8'), 'damaged')
  }
  const forced = await shunt(['restore', file, '--force'])
  assert.is(forced.code, 0, forced.stderr)
  assert.equal(contents(), before)

  rmSync(`${dir}/state`, { recursive: true })
  rmSync(`${dir}/etc`, { recursive: true })
  assert.is((await shunt(['restore', file])).code, 0)
  assert.equal(contents(), before)
  for (const part of parts.slice(1)) assert.is(statSync(join(dir, part)).mode & 0o777, 0o600)
  assert.equal(readdirSync(`${dir}/state`), ['cluster.json'])
})

it('restore and a second join keep away from a running agent', () =>
  withCluster(async ({ dir, as }) => {
    // The issuer's socket stands for that of an agent.
    const own = newDir()
    assert.is((await initIn(own, '--control-socket', as[1]!)).code, 0)
    const file = `${own}/f1.backup`
    assert.is((await shunt(['backup', file, '--config', `${own}/etc/node.yaml`])).code, 0)
    const result = await shunt(['restore', file, '--force'])
    assert.is(result.code, 5)
    assert.match(result.stderr, /an agent runs here/)
    assert.ok(existsSync(dir))
  }))

it('a question is answered on a terminal', () =>
  withCluster(async ({ issuer, as }) => {
    admitHost(issuer, 'h1', '10.10.0.31')
    const answer = (word: string): Promise<CliResult> => {
      const command = [...SHUNT, 'evict', 'h1', ...as].join(' ')
      const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] })
      let seen = ''
      child.stdout.on('data', (chunk: Buffer) => {
        const asked = seen.includes('[y/N]')
        seen += chunk
        if (!asked && seen.includes('[y/N]')) child.stdin.write(`${word}\n`)
      })
      return collect(child)
    }
    const no = await answer('n')
    assert.is(no.code, 5, no.stdout)
    assert.match(no.stdout, /nothing was changed/)
    const yes = await answer('y')
    assert.is(yes.code, 0, yes.stdout)
    assert.is(issuer.view().members.length, 1)
  }))

it.run()
