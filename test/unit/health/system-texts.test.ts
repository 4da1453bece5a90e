/** What the kernel prints and sends, read. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { nodeCgroup, parseCpuMax } from '../../../src/os/cgroup.ts'
import { parseConnections, parseCpu, parseLinks, parseMemory } from '../../../src/os/counters.ts'
import { readListening } from '../../../src/os/netlink/sock-diag.ts'
import { parseCgroup, parseProcessStat } from '../../../src/os/proc.ts'
import { parseLocalAddresses } from '../../../src/os/proc-net.ts'
import { parseTableLine } from '../../../src/os/socket-table.ts'

const it = suite('health/system-texts')

it('a line of /proc/net/tcp: address, port, accept queue, user, inode', () => {
  const line =
    '   1: 0100630A:0050 00000000:0000 0A 00000000:00000011 00:00000000 00000000  1000        0 20529999 2 0000000089a8bf12 100 0 0 10 0'
  assert.equal(parseTableLine(line, 'tcp'), {
    state: '0A',
    socket: {
      protocol: 'tcp',
      address: '10.99.0.1',
      port: 80,
      inode: 20529999,
      uid: 1000,
      queue: 17,
      backlog: 0,
      v6only: false,
    },
  })
})

it('a line of /proc/net/udp6, with an IPv4 address inside', () => {
  const line =
    ' 4242: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 000000001a 0'
  assert.equal(parseTableLine(line, 'udp')?.socket.address, '127.0.0.1')
  assert.equal(parseTableLine(line, 'udp')?.state, '07')
})

it('headings, cut lines and noise are no sockets, and no error', () => {
  const heading =
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
  assert.is(parseTableLine(heading, 'tcp'), null)
  assert.is(parseTableLine('   1: 0100630A:0050 00000000:00', 'tcp'), null)
  fc.assert(fc.property(fc.string(), text => parseTableLine(text, 'tcp') === null))
})

const diag = (family: number, address: number[], attributes: number[] = []): Buffer => {
  const bytes = Buffer.alloc(72)
  bytes[0] = family
  bytes[1] = 10
  bytes.writeUInt16BE(443, 4)
  bytes.set(address, 8)
  bytes.writeUInt32LE(3, 56)
  bytes.writeUInt32LE(511, 60)
  bytes.writeUInt32LE(33, 64)
  bytes.writeUInt32LE(4711, 68)
  return Buffer.concat([bytes, Buffer.from(attributes)])
}

it("the kernel's message about a socket", () => {
  const common = { protocol: 'tcp', port: 443, inode: 4711, uid: 33, queue: 3, backlog: 511, v6only: false }
  assert.equal(readListening(diag(2, [10, 99, 0, 1]), 'tcp'), { ...common, address: '10.99.0.1' })
  assert.equal(readListening(diag(10, [], [5, 0, 11, 0, 1, 0, 0, 0]), 'tcp'), {
    ...common,
    address: '::',
    v6only: true,
  })
  const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 7]
  assert.is(readListening(diag(10, mapped), 'tcp').address, '10.0.0.7')
  assert.throws(() => readListening(diag(2, []).subarray(0, 71), 'tcp'), /malformed netlink socket: 71 bytes/)
})

it('local addresses of a namespace, without the loopback', () => {
  const trie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.99.0.1
        /32 host LOCAL
     |-- 10.10.0.0
        /24 link UNICAST
Local:
     |-- 10.99.0.1
        /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 10.10.0.255
        /32 link BROADCAST
`
  const six =
    '00000000000000000000000000000001 01 80 10 80       lo\nfd000000000000000000000000000001 02 40 00 80     eth0\n'
  assert.equal(parseLocalAddresses(trie, six), ['10.99.0.1', 'fd00::1'])
})

it('units of systemd by the path of the cgroup', () => {
  assert.equal(parseCgroup('0::/system.slice/nginx.service\n'), {
    cgroup: '/system.slice/nginx.service',
    unit: 'nginx.service',
  })
  assert.is(
    parseCgroup('0::/user.slice/user-1.slice/user@1.service/app.slice/web.service/sub').unit,
    'web.service',
  )
  assert.is(parseCgroup('0::/system.slice/docker-12ab.scope\n').unit, 'docker-12ab.scope')
  assert.is(parseCgroup('9:name=systemd:/system.slice/a.service\n1:cpu:/\n0::/\n').unit, 'a.service')
  assert.equal(parseCgroup('0::/\n'), { cgroup: '/', unit: null })
  assert.equal(parseCgroup(''), { cgroup: '/', unit: null })
})

it('a process with a name that looks like the end of its name', () => {
  const text = `42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 98765 1 2 3`
  assert.equal(parseProcessStat(text), { pid: 42, parent: 7, started: 98765, cpuMs: 2000 })
  assert.is(parseProcessStat('42 (x) S 1'), null)
})

it('counters of the machine', () => {
  assert.equal(parseCpu('cpu  10 1 5 1000 77 2 3 4 50 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n'), {
    usedUs: 250_000,
    cpus: 2,
  })
  assert.equal(parseMemory('MemTotal:     100 kB\nMemFree: 3 kB\nMemAvailable:  40 kB\n'), {
    totalBytes: 102_400,
    availableBytes: 40_960,
  })
  assert.equal(
    parseLinks(
      'Inter-| Receive\n face |bytes\n    lo: 5 1 0 0 0 0 0 0 6 1 0\n  eth0:123 1 0 0 0 0 0 0 456 1 0 0 0 0 0 0\n',
    ),
    [
      { name: 'lo', receivedBytes: 5, sentBytes: 6 },
      { name: 'eth0', receivedBytes: 123, sentBytes: 456 },
    ],
  )
  assert.is(parseConnections('Ip: x\nTcp: RtoMin CurrEstab InSegs\nTcp: 200 17 9\n'), 17)
  assert.is(parseConnections(''), 0)
})

const folders: string[] = []
const tree = (files: Record<string, string>): string => {
  const root = mkdtempSync(join(tmpdir(), 'cgroup-'))
  folders.push(root)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}
it.after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true })
})

it('quotas', () => {
  assert.is(parseCpuMax('150000 100000\n'), 1.5)
  assert.is(parseCpuMax('max 100000\n'), null)
  assert.is(parseCpuMax('-1 100000\n'), null)
  assert.is(parseCpuMax(null), null)
})

it('a container (version 2): the topmost group has limits, and stands for the node', () => {
  const root = tree({
    'cgroup.controllers': 'cpu memory',
    'cgroup.procs': '',
    'cpu.max': '50000 100000',
    'cpu.stat': 'usage_usec 1234\nuser_usec 1\n',
    'memory.current': '1000',
    'memory.max': '5000',
    'memory.stat': 'anon 600\ninactive_file 300\n',
  })
  assert.equal(nodeCgroup(null, { root, own: '0::/' })?.read(), {
    cpuUs: 1234,
    cpus: 0.5,
    memoryBytes: 700,
    memoryLimitBytes: 5000,
  })
})

it('the whole machine has no limits at the top: no group stands for it', () => {
  const root = tree({ 'cgroup.controllers': 'cpu memory', 'cgroup.procs': '', 'cpu.stat': 'usage_usec 9\n' })
  assert.is(nodeCgroup(null, { root, own: '0::/system.slice/shunt.service' }), null)
})

it('a named group takes the smallest limit from it upwards; a wrong name is none', () => {
  const root = tree({
    'cgroup.controllers': 'cpu memory',
    'a/cpu.max': '100000 100000',
    'a/memory.max': '9000',
    'a/b/cgroup.procs': '',
    'a/b/cpu.max': 'max 100000',
    'a/b/cpu.stat': 'usage_usec 77\n',
    'a/b/memory.current': '10',
    'a/b/memory.max': 'max',
  })
  const expected = { cpuUs: 77, cpus: 1, memoryBytes: 10, memoryLimitBytes: 9000 }
  assert.equal(nodeCgroup('/a/b', { root, own: '' })?.read(), expected)
  assert.equal(nodeCgroup('own', { root, own: '0::/a/b\n' })?.read(), expected)
  assert.is(nodeCgroup('/a/c', { root, own: '' }), null)
})

it('version 1: usage and limits in hierarchies of their own', () => {
  const root = tree({
    'cpu/lab/h1/cpu.cfs_quota_us': '200000\n',
    'cpu/lab/h1/cpu.cfs_period_us': '100000\n',
    'cpuacct/lab/h1/cpuacct.usage': '5000000\n',
    'memory/memory.usage_in_bytes': '400\n',
    'memory/memory.limit_in_bytes': '9223372036854771712\n',
  })
  const own = '3:cpu:/lab/h1\n2:cpuacct:/lab/h1\n4:memory:/\n0::/\n'
  assert.equal(nodeCgroup('own', { root, own })?.read(), {
    cpuUs: 5000,
    cpus: 2,
    memoryBytes: 400,
    memoryLimitBytes: null,
  })
  assert.is(nodeCgroup(null, { root, own }), null)
})

it.run()
