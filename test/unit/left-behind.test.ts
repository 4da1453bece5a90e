/** What an agent writes down for the next one, and columns that outlive it (R-G4). */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { adoptedText } from '../../src/agent/adopted-text.ts'
import type { Directory } from '../../src/agent/dataplane/directory.ts'
import {
  leftBehind,
  leftDirectory,
  readLeft,
  removeLeft,
  sameNode,
  saveLeft,
  stateOwner,
} from '../../src/agent/left-behind.ts'
import { buildDirectory } from '../../src/agent/plan.ts'
import { type NodeConfig, nodeConfigSchema } from '../../src/config/schema.ts'
import { readColumnsHead, removeColumns, SharedColumns } from '../../src/os/shared-columns.ts'

const it = suite('left-behind')
let folder: string
it.before.each(() => {
  folder = mkdtempSync(join(tmpdir(), 'left-'))
})
it.after.each(() => rmSync(folder, { recursive: true }))

const config = (hosts: readonly number[], ports: readonly number[], roles = ['forwarder']): NodeConfig =>
  nodeConfigSchema.parse({
    version: 1,
    node: { name: 'f1', stateDir: folder, identityFile: '/x/identity' },
    roles,
    interfaces: { uplink: ['eth0'], cluster: ['eth0'] },
    addresses: { cluster: '10.0.0.1', tunnel: '10.0.1.1', cluster6: 'fd00::1', tunnel6: 'fd00:1::1' },
    cluster: { secrets: [{ number: 1, file: '/x/secret' }] },
    peers: hosts.map(n => ({
      ...{
        name: `h${n}`,
        id: `12D3KooW${String.fromCharCode(65 + (n % 8)).repeat(44)}`,
        roles: ['host'],
        address: `10.0.0.${n}`,
      },
      ...(n % 2 === 0 ? { address6: `fd00::${n}` } : {}),
    })),
    services: ports.map(port => ({
      ...{ name: `s${port}`, vip: port % 2 === 0 ? 'fd00:99::1' : '10.99.0.1', protocol: 'tcp', port },
      hosts: hosts.map(n => ({ name: `h${n}` })),
    })),
  })

const indexes = ({ hosts, services }: Directory) => ({
  hosts: Object.fromEntries(hosts.map(({ name, index }) => [name, index])),
  services: Object.fromEntries(services.map(({ name, index }) => [name, index])),
})

it('hosts and services keep their indexes over an agent, and none gets one that another had', () => {
  const before = config([11, 12, 13, 14], [80, 81])
  const directory = buildDirectory(before)
  saveLeft(folder, leftBehind(before, directory, '02:00:00:00:00:01'))
  const left = readLeft(folder)!
  assert.is(left.mark, '02:00:00:00:00:01')
  const now = config([10, 105, 12, 13], [79, 80, 81])
  assert.ok(sameNode(left, now))
  const then = indexes(buildDirectory(now, leftDirectory(left)))
  const was = indexes(directory)
  assert.equal([then.hosts.h12, then.hosts.h13], [was.hosts.h12, was.hosts.h13])
  assert.equal([then.services.s80, then.services.s81], [was.services.s80, was.services.s81])
  assert.equal(
    [then.hosts.h10, then.hosts.h105, then.services.s79],
    [5, 6, 2],
    'numbers that were never used',
  )
  assert.is.not(indexes(buildDirectory(now)).hosts.h12, was.hosts.h12, 'else they would be others')
})

it('another address, or another start of the machine, ends it', () => {
  const before = config([11], [80])
  const left = leftBehind(before, buildDirectory(before), null)
  const other = config([11], [80])
  other.addresses.tunnel6 = 'fd00:1::2'
  assert.not(sameNode(left, other))
  assert.ok(sameNode(left, { ...other, roles: ['host'] }), 'its tunnels are of no use then')
  other.addresses.cluster = '10.0.0.2'
  assert.not(sameNode(left, { ...other, roles: ['host'] }))
  for (const strange of [{ boot: 'another' }, { netns: 1 }]) {
    saveLeft(folder, { ...left, ...strange })
    assert.is(readLeft(folder), null)
  }
  removeLeft(folder)
  assert.is(readLeft(folder), null)
})

it('a damaged file is refused with what to do, and left as it is', () => {
  const before = config([11], [80])
  saveLeft(folder, leftBehind(before, buildDirectory(before), null))
  const path = join(folder, 'dataplane.json')
  const text = readFileSync(path, 'utf8')
  const wrong = [
    text.slice(0, text.length / 2),
    '',
    'null',
    text.replace('"10.0.0.1"', '"10.0.0.2"'),
    text.replace(/"held":\{/, '"held":{"x y":1.5,'),
  ]
  for (const spoilt of wrong) {
    writeFileSync(path, spoilt)
    assert.throws(
      () => readLeft(folder),
      /cannot be read .*goes on as it is; give it up with `shunt agent --flush`/s,
    )
    assert.is(readFileSync(path, 'utf8'), spoilt)
  }
  writeFileSync(path, text.replace('"version":1', '"version":2'))
  assert.is(readLeft(folder), null, 'of a version that says other things')
})

it('each state directory has a name of its own', () => {
  const owners = ['a', 'b'].map(name => {
    const stateDir = join(folder, name)
    mkdirSync(stateDir)
    return stateOwner({ name: 'f-1', stateDir })
  })
  assert.is.not(owners[0], owners[1])
  for (const owner of owners) assert.match(owner, /^shunt_f_1-[0-9a-f]{12}$/)
})

it('columns are there for the next process, once they are sealed', () => {
  const path = join(folder, 'columns')
  const first = SharedColumns.create(path)
  first.u32('a', 3).set([1, 2, 3])
  first.f64('b', 2000)[1999] = 0.5
  assert.is(readColumnsHead(path), null)
  first.seal('one')
  first.release()
  assert.is(readColumnsHead(path), 'one')

  const second = SharedColumns.continue(path)
  assert.is(readColumnsHead(path), null, 'nobody else may continue them meanwhile')
  const a = second.u32('a', 3)
  assert.equal([[...a], second.f64('b', 2000)[1999]], [[1, 2, 3], 0.5])
  second.settled()
  assert.equal([...second.u32('a', 3)], [0, 0, 0], 'a role that comes later begins with none')
  assert.equal([...a], [1, 2, 3])
  second.release()

  const third = SharedColumns.continue
  writeFileSync(join(path, 'head'), 'x')
  truncateSync(join(path, 'b'), 100)
  const columns = third(path)
  assert.is(columns.f64('b', 2000)[1999], 0, 'one of another length is none')
  columns.release()
  assert.equal([removeColumns(path), removeColumns(path)], [true, false])
  assert.equal(readdirSync(folder), [])
})

it('tells people what was taken over', () => {
  const told = {
    flows: 4812,
    mappings: 0,
    routesInKernel: 4700,
    mappingsInKernel: 0,
    sameEpoch: true,
    notes: [],
  }
  assert.is(
    adoptedText(told),
    'went on with 4,812 flows (4,700 in the kernel all the time) of the agent before',
  )
  assert.is(
    adoptedText({ ...told, flows: 1, mappings: 2, routesInKernel: 0, sameEpoch: false, notes: ['so it is'] }),
    'went on with 1 flow (0 in the kernel all the time) and 2 mappings (0 in the kernel all the time) of the agent before; hosts are told of each flow again; so it is',
  )
})

it.run()
