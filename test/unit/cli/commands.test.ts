import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { COMMAND_IDS } from '../../../src/commands/table.ts'
import { ROOT, shunt } from '../../support/cli.ts'

const it = suite('cli/commands')
const dir = mkdtempSync(join(tmpdir(), 'shunt-commands-'))
it.after(() => rmSync(dir, { recursive: true }))

const GOOD = `version: 1
node: { name: c1, identityFile: /etc/shunt/identity.key }
roles: [classifier]
interfaces: { cluster: [eth0] }
addresses: { cluster: 10.10.0.21 }
cluster: { secrets: [{ number: 1, file: /etc/shunt/cluster.secret }] }
`

it('version', async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const [flag, command, json] = await Promise.all([
    shunt(['--version']),
    shunt(['version']),
    shunt(['version', '--json']),
  ])
  assert.equal(flag, { code: 0, stdout: `shunt ${version}\n`, stderr: '' })
  assert.match(command.stdout, /^shunt \S+ \(build [\w.-]+, Node v[\d.]+, linux /)
  assert.ok(command.stdout.startsWith(`shunt ${version} `))
  const envelope = JSON.parse(json.stdout)
  assert.is(envelope.schema, 'shunt.version/1')
  assert.is(envelope.data.version, version)
})

it('help names every command, and every command has help', async () => {
  const root = await shunt(['--help'])
  assert.is(root.code, 0)
  for (const id of COMMAND_IDS) assert.match(root.stdout, new RegExp(`^  ${id.split(':')[0]} `, 'm'))
  await Promise.all(
    COMMAND_IDS.map(async id => {
      const { code, stdout, stderr } = await shunt([...id.split(':'), '--help'])
      assert.equal({ code, stderr }, { code: 0, stderr: '' }, id)
      assert.ok(stdout.includes(`$ shunt ${id.replace(':', ' ')}`), id)
    }),
  )
  assert.is(
    (await shunt(['help', 'config', 'check'])).stdout,
    (await shunt(['config', 'check', '--help'])).stdout,
  )
  assert.is((await shunt([])).stdout, root.stdout)
})

it('an argument that is named in an error does not reach the terminal as it is', async () => {
  const { stderr } = await shunt(['sta\x1b]0;x\x07t\u202e\x9b2J'])
  assert.match(stderr, /^error: there is no command "stat/)
  assert.not.match(stderr, /[^\P{Cc}\n]|\u202e/u)
})

it('wrong usage: exit code 2, on standard error, with a code', async () => {
  const cases: [string[], RegExp][] = [
    [['statsu'], /^error: there is no command "statsu" \(did you mean "status"\?\)/],
    [['config', 'chek'], /^error: there is no command "config chek" \(did you mean "check"\?\)/],
    [['--json'], /^error: a command comes first, not --json/],
    [
      ['status', '--bad'],
      /^error: there is no flag --bad\ncode: SHUNT_ERR_USAGE\nsee shunt status --help\n$/,
    ],
    [['flows', '--limt', '3'], /^error: there is no flag --limt \(did you mean "--limit"\?\)\n/],
    [['flows', '-x', '--jsn'], /^error: there is no flag -x and no flag --jsn \(did you mean "--json"\?\)\n/],
    [
      ['capture', '10.0.0.1', '--client', 'foo'],
      /^error: --client takes an address or a prefix, .*; not "foo"\n/,
    ],
    [['capture', '10.0.0.1', '--client', '10.0.0.0/33'], /^error: --client takes/],
    [['status', 'more'], /^error: too much: "more"; the command takes no such argument\ncode: /],
    [['config', 'check'], /^error: FILE is missing \(The file, YAML or JSON\)\ncode: /],
    [['flows', '--limit', '0'], /^error: --limit is at least 1, not 0\ncode: /],
    [['flows', '--limit', '99999999999'], /^error: --limit is at most \d+, not 99999999999\n/],
    [['flows', '--limit', 'x'], /^error: --limit takes a whole number, not "x"\n/],
    [['atoms', '--node'], /^error: --node needs a value behind it\n/],
    [['drops', '--node', 'a', '--all'], /^error: --all and --node exclude each other: give one of them\n/],
    [
      ['lab', 'up', '--combine', 'al'],
      /^error: --combine is one of none, fc, all, not "al" \(did you mean "all"\?\)\n/,
    ],
    [['config', 'check', '--kind'], /^error: --kind needs a value behind it: one of node, cluster\n/],
    [
      ['config', 'schema', 'clustr'],
      /^error: the argument is one of node, cluster, not "clustr" \(did you mean "cluster"\?\)\n/,
    ],
    [['lab', 'exec'], /^error: NODE is missing \(.*\); COMMAND is missing \(.*\)\n/],
    [['keygen', '--show'], /^error: --show needs --identity too\n/],
    [['keygen'], /^error: nothing to make: /],
    [['keygen', '--show'], /--identity/],
  ]
  await Promise.all(
    cases.map(async ([args, expected]) => {
      const { code, stdout, stderr } = await shunt(args)
      assert.is(code, 2, args.join(' '))
      assert.match(stderr, expected)
      assert.match(stderr, /^code: SHUNT_ERR_USAGE$/m)
      if (!args.includes('--json')) assert.is(stdout, '')
    }),
  )
  const { code, stdout } = await shunt(['status', '--bad', '--json'])
  assert.is(code, 2)
  assert.equal(JSON.parse(stdout), {
    schema: 'shunt.error/1',
    error: { code: 'SHUNT_ERR_USAGE', message: 'there is no flag --bad' },
  })
})

it('config check', async () => {
  const good = join(dir, 'good.yaml')
  const bad = join(dir, 'bad.yaml')
  writeFileSync(good, GOOD)
  writeFileSync(bad, GOOD.replace('classifier', 'clasifier').replace('name: c1', 'name: C1'))
  const [ok, json, wrong, wrongJson, missing] = await Promise.all([
    shunt(['config', 'check', good]),
    shunt(['config', 'check', good, '--json']),
    shunt(['config', 'check', bad]),
    shunt(['config', 'check', bad, '--json']),
    shunt(['config', 'check', join(dir, 'none.yaml')]),
  ])
  assert.equal(ok, {
    code: 0,
    stdout: `${good}: ok (node c1, classifier, 0 peers, 0 services)\n`,
    stderr: '',
  })
  const envelope = JSON.parse(json.stdout)
  assert.is(envelope.schema, 'shunt.config-check/1')
  assert.is(envelope.node, 'c1')
  assert.is(envelope.data.config.timeouts.embryonic, 10_000)
  assert.equal(wrong, {
    code: 1,
    stdout: '',
    stderr: `error: ${bad}:2:15 node.name: must be 1 to 63 of a-z, 0-9 and -
error: ${bad}:3:9 roles[0]: must be one of forwarder, classifier, host, not the string "clasifier" (did you mean "classifier"?)
code: SHUNT_ERR_CONFIG
`,
  })
  assert.is(JSON.parse(wrongJson.stdout).error.code, 'SHUNT_ERR_CONFIG')
  assert.is(missing.code, 1)
  assert.match(missing.stderr, /^error: there is no file .*none\.yaml$/m)
})

it('config schema prints the published schema', async () => {
  const { code, stdout } = await shunt(['config', 'schema'])
  assert.is(code, 0)
  assert.is(stdout, readFileSync(join(ROOT, 'schema', 'node.schema.json'), 'utf8'))
})

it('agent refuses a wrong node file before anything else', async () => {
  const { code, stderr } = await shunt(['agent', '--config', join(dir, 'none.yaml')])
  assert.is(code, 1)
  assert.match(stderr, /^error: there is no node file .*none\.yaml: shunt init .*shunt join .*--config/)
  assert.match(stderr, /code: SHUNT_ERR_CONFIG/)
})

it('keygen makes private files, prints the peer id, and never overwrites', async () => {
  const identity = join(dir, 'identity.key')
  const secret = join(dir, 'cluster.secret')
  const made = await shunt(['keygen', '--identity', identity, '--secret', secret])
  assert.is(made.code, 0)
  assert.match(made.stdout, /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}\n$/)
  assert.is(made.stderr, `wrote ${identity}; keep it private\nwrote ${secret}; keep it private\n`)
  assert.is(statSync(identity).mode & 0o777, 0o600)
  assert.is(statSync(secret).mode & 0o777, 0o600)

  const before = readFileSync(secret)
  const other = join(dir, 'other.key')
  const again = await shunt(['keygen', '--identity', other, '--secret', secret])
  assert.is(again.code, 5)
  assert.match(again.stderr, /exists and is not overwritten/)
  assert.match(again.stderr, /code: SHUNT_ERR_GUARD/)
  assert.equal(readFileSync(secret), before)
  assert.not.ok(existsSync(other))

  const shown = await shunt(['keygen', '--show', '--identity', identity, '--json'])
  assert.is(JSON.parse(shown.stdout).data.peerId, made.stdout.trim())
  writeFileSync(other, 'not a key')
  assert.match((await shunt(['keygen', '--show', '--identity', other])).stderr, /code: SHUNT_ERR_IDENTITY/)
})

it.run()
