import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { OsError } from '../../src/errors.ts'
import { sleepSync } from '../../src/lab/processes.ts'
import {
  addAddress,
  addresses,
  deleteAddress,
  link,
  linkAt,
  links,
  neighbours,
  routeGet,
  routeMtu,
  setLinkUp,
} from '../../src/os/netlink/route.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { readSysctl, writeSysctl } from '../../src/os/sysctl.ts'
import { SysctlGuard } from '../../src/os/sysctl-guard.ts'
import { makeNetns, removeNetns } from '../support/netns.ts'
import { makePair, type Pair } from '../support/os-lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('os/route')
const lab = (name: string, run: () => Promise<void> | void): void => testIf(missingRoot(), it, name, run)

let pair: Pair
let folder: string

it.before(async () => {
  if (missingRoot() !== undefined) return
  pair = await makePair(1400)
  folder = mkdtempSync(join(tmpdir(), 'os-route-'))
})
it.after(async () => {
  await removeNetns()
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

const errnoOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof OsError) return error.symbol
    throw error
  }
  return 'ok'
}

lab('lists links with their facts, and finds one by name', () => {
  pair.left.run(() => {
    const all = links()
    assert.equal(all.map(({ name }) => name).sort(), ['lo', 'v0'])
    const { mac, ...rest } = link('v0')
    assert.equal(rest, { index: rest.index, name: 'v0', up: true, mtu: 1400, kind: 'veth' })
    assert.match(mac ?? '', /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/)
    assert.throws(() => link('eth7'), /no interface eth7 here; there are: lo, v0/)
  })
})

lab('sets a link up, also twice', async () => {
  const netns = await makeNetns()
  netns.run(() => {
    assert.is(link('lo').up, false)
    setLinkUp('lo')
    setLinkUp('lo')
    assert.is(link('lo').up, true)
  })
})

lab('adds and deletes addresses, telling what was so already', () => {
  pair.left.run(() => {
    const { index } = link('lo')
    const of = (): string[] =>
      addresses()
        .filter(({ interfaceIndex }) => interfaceIndex === index)
        .map(({ address, prefixLength }) => `${address}/${prefixLength}`)
    const before = of()
    assert.is(addAddress(index, '10.99.0.1/32'), true)
    assert.is(addAddress(index, '10.99.0.1/32'), false)
    assert.equal(of().sort(), [...before, '10.99.0.1/32'].sort())
    assert.is(deleteAddress(index, '10.99.0.1/32'), true)
    assert.is(deleteAddress(index, '10.99.0.1/32'), false)
    assert.equal(of(), before)
    assert.is(
      errnoOf(() => addAddress(999_999, '10.99.0.1/32')),
      'ENODEV',
    )
    for (const bad of ['10.99.0.1', '10.99.0.1/33', '10.99.0.1/', '10.99.0/24', '10.99.0.1/8/8', 'x/8']) {
      assert.throws(
        () => addAddress(index, bad),
        (error: unknown) => error instanceof RangeError,
      )
    }
  })
})

lab('adds IPv6 addresses', () => {
  pair.right.run(() => {
    writeSysctl('net.ipv6.conf.lo.disable_ipv6', 0)
    const { index } = link('lo')
    assert.is(addAddress(index, '2001:db8::5/128'), true)
    assert.is(addAddress(index, '2001:db8::5/128'), false)
    assert.ok(
      addresses().some(({ address, prefixLength }) => address === '2001:db8::5' && prefixLength === 128),
    )
    // The kernel brings the address into force a moment after it has said yes.
    for (let i = 0; i < 500 && !routeGet('2001:db8::5').local; i++) sleepSync(10)
    assert.is(routeGet('2001:db8::5').local, true)
    assert.is(deleteAddress(index, '2001:db8::5/128'), true)
  })
})

lab('asks for routes: on the link, by a gateway, local, none', async () => {
  await ipBatch(pair.left.name, [
    'route add 198.51.100.0/24 via 10.9.0.2',
    'route add 198.51.101.0/24 via 10.9.0.2 mtu 1400',
    'route add unreachable 192.0.2.0/24',
  ])
  pair.left.run(() => {
    const interfaceIndex = link('v0').index
    const common = { interfaceIndex, source: '10.9.0.1', local: false }
    assert.equal(routeGet('10.9.0.2'), { ...common, gateway: null, mtu: null })
    assert.equal(routeGet('198.51.100.7'), { ...common, gateway: '10.9.0.2', mtu: null })
    assert.equal(routeGet('198.51.101.7'), { ...common, gateway: '10.9.0.2', mtu: 1400 })
    assert.is(routeMtu('198.51.101.7'), 1400)
    assert.is(routeMtu('198.51.100.7'), linkAt(interfaceIndex).mtu)
    assert.equal(linkAt(interfaceIndex), link('v0'))
    assert.is(
      errnoOf(() => linkAt(999_999)),
      'ENODEV',
    )
    assert.is(routeGet('10.9.0.1').local, true)
    assert.is(
      errnoOf(() => routeGet('203.0.113.1')),
      'ENETUNREACH',
    )
    assert.is(
      errnoOf(() => routeGet('192.0.2.1')),
      'EHOSTUNREACH',
    )
    assert.throws(() => routeGet('nowhere'), /not an IP address/)
  })
})

lab('lists neighbours', async () => {
  await ipBatch(pair.left.name, ['neighbour replace 10.9.0.50 lladdr 02:00:00:00:00:50 dev v0 nud permanent'])
  pair.left.run(() => {
    assert.equal(
      neighbours().find(({ address }) => address === '10.9.0.50'),
      {
        interfaceIndex: link('v0').index,
        address: '10.9.0.50',
        mac: '02:00:00:00:00:50',
        state: 'permanent',
      },
    )
  })
})

lab('reads and writes kernel settings, also of interfaces with a dot in their name', async () => {
  await ipBatch(pair.left.name, ['link add a.b type veth peer name c.d'])
  pair.left.run(() => {
    const name = ['net', 'ipv4', 'conf', 'a.b', 'rp_filter']
    writeSysctl(name, 2)
    assert.is(readSysctl(name), '2')
    writeSysctl('net.ipv4.ip_forward', 1)
    assert.is(readSysctl('net.ipv4.ip_forward'), '1')
    assert.throws(() => readSysctl('net.ipv4.no_such'), /no setting net\.ipv4\.no_such/)
    assert.throws(() => writeSysctl('net.ipv4.ip_forward', 'many'), /EINVAL/)
    for (const bad of ['', 'net..x', ['net', '..', 'x'], ['net/x']]) {
      assert.throws(
        () => readSysctl(bad),
        (error: unknown) => error instanceof RangeError,
      )
    }
  })
})

const FORWARD = 'net.ipv4.ip_forward'
const ANNOUNCE = ['net', 'ipv4', 'conf', 'v0', 'arp_announce']
const PORTS = 'net.ipv4.ip_local_port_range'

lab('guard: remembers the original, once, and puts it back', () => {
  const path = join(folder, 'deeper', 'a.json')
  pair.right.run(() => {
    writeSysctl(FORWARD, 0)
    const ports = readSysctl(PORTS)
    const guard = new SysctlGuard(path)
    guard.set(PORTS, ports.replace('\t', ' '))
    assert.is(existsSync(path), false, 'a setting that has the value already is no change')
    guard.set(FORWARD, 1)
    guard.set(ANNOUNCE, 2)
    guard.set(ANNOUNCE, 1)
    guard.set(PORTS, '20000 30000')
    assert.is(readSysctl(FORWARD), '1')
    assert.is(readSysctl(ANNOUNCE), '1')
    guard.restore()
    assert.is(readSysctl(FORWARD), '0')
    assert.is(readSysctl(ANNOUNCE), '0')
    assert.is(readSysctl(PORTS), ports)
    assert.is(existsSync(path), false)
    guard.restore()
  })
})

lab('guard: the next process undoes what a killed one left', () => {
  const path = join(folder, 'b.json')
  pair.right.run(() => {
    writeSysctl(FORWARD, 0)
    new SysctlGuard(path).set(FORWARD, 1)
    new SysctlGuard(path).set(ANNOUNCE, 2) // a second start that did not recover keeps what the first wrote down
    SysctlGuard.recover(path)
    assert.is(readSysctl(FORWARD), '0')
    assert.is(readSysctl(ANNOUNCE), '0')
    SysctlGuard.recover(path)
  })
})

lab(
  'guard: what the process before changed and this one does not ask for goes back, the rest stays all the time',
  () => {
    const path = join(folder, 'f.json')
    pair.right.run(() => {
      writeSysctl(FORWARD, 0)
      writeSysctl(ANNOUNCE, 0)
      const killed = new SysctlGuard(path)
      killed.set(FORWARD, 1)
      killed.set(ANNOUNCE, 2)
      const next = new SysctlGuard(path)
      next.set(ANNOUNCE, 2)
      assert.equal([readSysctl(FORWARD), readSysctl(ANNOUNCE)], ['1', '2'], 'nothing has changed yet')
      next.restoreOthers()
      assert.equal([readSysctl(FORWARD), readSysctl(ANNOUNCE)], ['0', '2'])
      assert.equal(next.changed.length, 1)
      next.restore()
      assert.is(readSysctl(ANNOUNCE), '0')
      assert.is(existsSync(path), false)
    })
  },
)

lab('guard: the original is on file before the change is made', () => {
  const path = join(folder, 'c.json')
  pair.right.run(() => {
    assert.throws(() => new SysctlGuard(path).set(ANNOUNCE, 'wrong'), /EINVAL/)
    assert.match(readFileSync(path, 'utf8'), /"arp_announce"/)
    SysctlGuard.recover(path)
    assert.is(existsSync(path), false)
  })
})

lab('guard: forgets an interface that has gone, and restores the rest', async () => {
  const path = join(folder, 'd.json')
  await ipBatch(pair.right.name, ['link add gone0 type veth peer name gone1'])
  pair.right.run(() => {
    writeSysctl(FORWARD, 0)
    const guard = new SysctlGuard(path)
    guard.set(FORWARD, 1)
    guard.set(['net', 'ipv4', 'conf', 'gone0', 'arp_announce'], 2)
  })
  await ipBatch(pair.right.name, ['link delete gone0'])
  pair.right.run(() => {
    SysctlGuard.recover(path)
    assert.is(readSysctl(FORWARD), '0')
  })
})

lab('guard: refuses a damaged file rather than lose what it held', () => {
  const path = join(folder, 'e.json')
  for (const text of [
    '{',
    '{"version":2,"settings":[]}',
    '{"version":1,"settings":[{"name":"x"}]}',
    'null',
  ]) {
    writeFileSync(path, text)
    assert.throws(() => SysctlGuard.recover(path), /e\.json should hold kernel settings/)
  }
})

it.run()
