/** shunt doctor on a real network namespace: facts as the kernel has them, and what --fix changes. */

import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type ControlServer, startControlServer } from '../../src/control/server.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { readSysctl, writeSysctl } from '../../src/os/sysctl.ts'
import { type CliResult, collect, SHUNT } from '../support/cli.ts'
import { healthyAgent } from '../support/doctor-facts.ts'
import { FakeView } from '../support/fake-view.ts'
import { makeNetns, removeNetns, type TestNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('lab/doctor')
const lab = (name: string, run: () => Promise<void>): void => testIf(missingRoot(), it, name, run)
const dir = mkdtempSync(join(tmpdir(), 'shunt-doctor-'))
const SOCKET = join(dir, 'control.sock')
const FILE = join(dir, 'node.yaml')
const KEY = join(dir, 'identity.key')
let netns: TestNetns
let server: ControlServer

it.before(async () => {
  if (missingRoot() !== undefined) return
  netns = await makeNetns()
  await ipBatch(netns.name, [
    'link set lo up',
    'link add v0 type veth peer name v1',
    'link set v0 up',
    'link set v1 up',
    'link add shunt0 type veth peer name shunt1',
    'link set shunt0 up',
    'address add 10.10.0.31/24 dev v0',
    'address add 10.99.0.1/32 dev lo',
  ])
  mkdirSync(join(dir, 'state'), { mode: 0o700 })
  writeFileSync(join(dir, 'state', 'cluster.json'), '{}', { mode: 0o600 })
  writeFileSync(KEY, '', { mode: 0o600 })
  writeFileSync(
    FILE,
    `version: 1
node: { name: h1, identityFile: ${KEY}, stateDir: ${dir}/state, controlSocket: ${SOCKET} }
interfaces: { cluster: [v0] }
addresses: { cluster: 10.10.0.31 }
`,
  )
  const view = new FakeView()
  const agent = healthyAgent()
  view.data.status = { ...agent.status, roles: ['host'] }
  assert.ok('value' in agent.nodes && 'value' in agent.vips && 'value' in agent.drops)
  assert.ok('value' in agent.health)
  view.data.health = agent.health.value
  view.data.nodes = agent.nodes.value
  view.data.vips = agent.vips.value
  view.data.drops = agent.drops.value
  server = await startControlServer({ socketPath: SOCKET, view, node: 'h1', log: { error: () => {} } })
})
it.after(async () => {
  await server?.close()
  await removeNetns()
  rmSync(dir, { recursive: true })
})

const doctor = (...args: string[]): Promise<CliResult> =>
  collect(
    spawn('ip', ['netns', 'exec', netns.name, ...SHUNT, 'doctor', '--config', FILE, ...args], {
      env: { PATH: process.env.PATH, HOME: '/nonexistent', NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )

interface Row {
  check: string
  status: string
  text: string
  fix: string | null
}
const rows = (result: CliResult): Row[] => JSON.parse(result.stdout).data.checks
const failing = (result: CliResult): string[] =>
  rows(result)
    .filter(row => row.status === 'fail')
    .map(row => row.check)

/** Breaks what --fix may mend. */
const breakIt = (): void => {
  netns.run(() => {
    writeSysctl('net.ipv4.icmp_echo_ignore_all', 1)
    writeSysctl('net.ipv4.conf.all.arp_ignore', 0)
    writeSysctl('net.ipv4.conf.all.arp_announce', 0)
    writeSysctl('net.ipv4.conf.v0.rp_filter', 0)
    writeSysctl('net.ipv4.conf.all.rp_filter', 1)
    writeSysctl('net.ipv4.conf.shunt0.rp_filter', 1)
  })
  chmodSync(KEY, 0o644)
}
const BROKEN = ['private-files', 'arp', 'arp', 'reverse-path', 'reverse-path', 'echo']
const settings = (): string[] =>
  netns.run(() =>
    [
      'icmp_echo_ignore_all',
      'conf.all.arp_ignore',
      'conf.all.arp_announce',
      'conf.v0.rp_filter',
      'conf.shunt0.rp_filter',
    ].map(name => readSysctl(`net.ipv4.${name}`)),
  )

lab('finds what is broken, changes nothing, and exits with 3', async () => {
  breakIt()
  const result = await doctor('--json')
  assert.is(result.code, 3, result.stderr)
  assert.is(JSON.parse(result.stdout).schema, 'shunt.doctor/1')
  assert.equal(failing(result), BROKEN)
  assert.equal(settings(), ['1', '0', '0', '0', '1'])
  assert.is(statSync(KEY).mode & 0o777, 0o644)
  const nft = rows(result).find(row => row.check === 'nftables')
  assert.is(nft?.status, 'pass', nft?.text)
})

lab('--fix mends the settings and the mode, says so, and then all is well', async () => {
  breakIt()
  const result = await doctor('--fix')
  assert.is(result.code, 0, result.stdout + result.stderr)
  assert.equal(settings(), ['0', '1', '2', '2', '2'])
  assert.is(statSync(KEY).mode & 0o777, 0o600)
  assert.match(result.stderr, /fixed: net\.ipv4\.conf\.v0\.rp_filter: 0 -> 2/)
  assert.match(result.stderr, /fixed: net\.ipv4\.conf\.shunt0\.rp_filter: 1 -> 2/)
  assert.match(result.stderr, /fixed: mode of .*identity\.key: 644 -> 600/)
  assert.match(result.stdout, /^pass {2}echo /m)
  assert.match(result.stdout, /0 failed/)
  const again = await doctor('--fix')
  assert.is(again.code, 0)
  assert.match(again.stderr, /nothing that --fix may change/)
})

lab('sees the kernel’s interfaces and addresses', async () => {
  await ipBatch(netns.name, ['link set v0 down', 'address del 10.99.0.1/32 dev lo'])
  const result = await doctor('--json')
  await ipBatch(netns.name, ['link set v0 up', 'address add 10.99.0.1/32 dev lo'])
  assert.equal(failing(result), ['interfaces', 'virtual-ips'])
})

lab('without an agent it still checks the machine', async () => {
  const result = await doctor('--json', '--socket', join(dir, 'nobody.sock'))
  assert.is(result.code, 3)
  assert.equal(failing(result), ['agent'])
  assert.match(rows(result).find(row => row.check === 'ports')?.text ?? '', /are free/)
})

it.run()
