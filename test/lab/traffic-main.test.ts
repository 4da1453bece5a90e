/** Real traffic through a cluster in which every node has one role: nothing is lost, mixed up, or slower than it must be. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { HostsData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import { labName, leftovers } from '../support/lab.ts'
import { rawClient, startRaw, withRaw } from '../support/raw.ts'
import { pattern } from '../support/raw-pattern.ts'
import { missingRoot, skip } from '../support/skip.ts'
import {
  accessLog,
  assertWhole,
  counters,
  flowsOf,
  grown,
  kernelCounter,
  load,
  sha256Of,
  until,
  VIP,
  webFile,
} from '../support/traffic.ts'

const it = suite('traffic-main')
const CAPACITIES = [10, 30, 60]
const BIG = 10 * 1024 * 1024
/** Slow-path packets of one bulk flow, until its route is plumbed (later on a busy machine); of 7,000 if never. */
const SLOW_PER_FLOW = 400

let lab: Lab
const forwarders = (): string[] => lab.forwarders.map(f => f.name)
const hosts = (): string[] => lab.hosts.map(h => h.name)
const clients = (): string[] => [lab.client(1), lab.client(2)]

it.before(async () => {
  lab = await Lab.up({ name: labName(), clients: 2, capacities: CAPACITIES, configure: withRaw() })
  await startRaw(lab)
})

it.after(async () => {
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

it('10,000 connections, 200 at once, small and of 10 MB both ways: none fails, every byte is right (R-A1)', async () => {
  const { path, sha256 } = webFile(lab, '/10m')
  const before = await counters(lab)
  const results = await Promise.all(
    clients().map(client =>
      load(lab, client, {
        concurrency: 100,
        jobs: [
          { kind: 'small', count: 4_985 },
          { kind: 'get', count: 8, path, sha256 },
          { kind: 'put', count: 7, bytes: BIG },
        ],
      }),
    ),
  )
  for (const result of results) assertWhole(lab, result)
  assert.is(
    results.reduce((sum, r) => sum + r.done, 0),
    10_000,
  )

  const after = await counters(lab)
  const opened = (names: string[]): number =>
    grown(before, after, 'forwarder_new_flows', names) + grown(before, after, 'forwarder_reused_flows', names)
  // One flow a connection, but for those that retransmit by another forwarder.
  assert.ok(Math.abs(opened(forwarders()) - 10_000) < 200, `${opened(forwarders())} flows`)
  for (const name of forwarders()) assert.ok(opened([name]) > 3_500, `${name} carried ${opened([name])}`)
})

it('each host gets its share by capacity, and sees the clients, not the forwarders (R-B10, R-A4)', async () => {
  const lines = hosts().map(host => accessLog(lab, host))
  const total = lines.reduce((sum, l) => sum + l.length, 0)
  assert.is(total, 10_000)
  const addresses = new Set(clients().map(client => lab.place(client).address))
  for (const line of lines.flat()) {
    assert.ok(addresses.has(line.client), `a request from ${line.client}`)
    assert.is(line.server, VIP)
    assert.ok(line.status === 200 || line.status === 201, `status ${line.status}`)
  }
  // Five standard deviations of a fair draw: it fails for wrong weights, not for bad luck.
  CAPACITIES.forEach((capacity, i) => {
    const p = capacity / 100
    const bound = 5 * Math.sqrt(total * p * (1 - p))
    const off = Math.abs(lines[i]!.length - total * p)
    assert.ok(off < bound, `${hosts()[i]} got ${lines[i]!.length} of ${total}`)
  })
  const shown = new Map<string, number>()
  for (const name of forwarders())
    for (const host of (await lab.api<HostsData>(name, '/v1/hosts')).hosts)
      shown.set(host.name, (shown.get(host.name) ?? 0) + host.connections!)
  hosts().forEach((host, i) => {
    const off = Math.abs(shown.get(host)! - lines[i]!.length)
    assert.ok(off < 100, `${host}: ${lines[i]!.length} requests, ${shown.get(host)} connections shown`)
  })
})

it('answers go straight from the host to the client (R-A4)', async () => {
  const { path, sha256 } = webFile(lab, '/10m')
  const tx = async (names: string[]): Promise<number> =>
    (await Promise.all(names.map(n => lab.linkCounters(n)))).reduce((sum, c) => sum + c.txBytes, 0)
  const before = { hosts: await tx(hosts()), forwarders: await tx(forwarders()) }
  const result = await load(lab, lab.client(), {
    concurrency: 5,
    jobs: [{ kind: 'get', count: 10, path, sha256 }],
  })
  assertWhole(lab, result)
  const byHosts = (await tx(hosts())) - before.hosts
  const byForwarders = (await tx(forwarders())) - before.forwarders
  assert.ok(byHosts > 10 * BIG, `hosts sent ${byHosts} bytes`)
  // Acknowledgements only.
  assert.ok(byForwarders < byHosts / 15, `forwarders sent ${byForwarders} bytes, hosts ${byHosts}`)
})

it('bulk bytes take the kernel path: a few slow packets a flow, at the forwarder and the host (R-A3, R-E8)', async () => {
  const measure = async (what: string, body: () => Promise<void>): Promise<void> => {
    const before = await counters(lab)
    await body()
    const after = await counters(lab)
    const of = (counter: string): number => grown(before, after, counter)
    const seen = {
      forwarderSlow: of('forwarder_slow_packets'),
      hostSlow: of('host_slow_packets'),
      routeHits: of('kernel_route_hit'),
      restored: of('kernel_decap_hit'),
    }
    process.stdout.write(`\n  ${what}: ${JSON.stringify(seen)}\n`)
    assert.ok(seen.forwarderSlow < SLOW_PER_FLOW, what)
    assert.ok(seen.hostSlow < SLOW_PER_FLOW, what)
    // What a forwarder passed on in the kernel, the host took in there, but for the first few (bounded above).
    assert.ok(seen.restored + seen.hostSlow > 0.9 * seen.routeHits, what)
    if (what === 'upload') assert.ok(seen.restored > 0.9 * seen.routeHits, what)
    // An upload is all segments; of a download there are acknowledgements, of which clients may merge many.
    assert.ok(seen.routeHits > (what === 'upload' ? 5_000 : 60), what)
  }
  await measure('upload', async () => {
    const jobs = [{ kind: 'put', count: 1, bytes: BIG } as const]
    assertWhole(lab, await load(lab, lab.client(), { concurrency: 1, tag: 'kernel', jobs }))
  })
  const { path, sha256 } = webFile(lab, '/10m')
  await measure('download', async () => {
    const jobs = [{ kind: 'get', count: 1, path, sha256 } as const]
    assertWhole(lab, await load(lab, lab.client(), { concurrency: 1, jobs }))
  })
})

it('a half-closed download of 10 MB is whole and takes the kernel path', async () => {
  const before = await counters(lab)
  const got = await rawClient<{ bytes: number; sha256: string; error: string | null }>(
    lab,
    lab.client(),
    'download',
    BIG,
  )
  const after = await counters(lab)
  assert.equal(got, {
    bytes: BIG,
    sha256: createHash('sha256').update(pattern(BIG)).digest('hex'),
    error: null,
  })
  const slow = grown(before, after, 'forwarder_slow_packets')
  const hits = grown(before, after, 'kernel_route_hit')
  process.stdout.write(`\n  half-closed: ${slow} slow packets, ${hits} in the kernel\n`)
  assert.ok(slow < SLOW_PER_FLOW, `${slow} slow packets`)
  assert.ok(hits > 60, `${hits} packets in the kernel`)
})

it('full-size segments cross as they are: no fragment, no other MTU or MSS (R-E8)', async () => {
  const captures = hosts().map(host => {
    // 1500 bytes of IP from a tunnel address.
    const filter = `src net 10.10.1.0/24 and ip[2:2] == 1500`
    // On the cable: in the host's own interface XDP has restored a packet before anybody sees it.
    const argv = ['tcpdump', '-i', `to-${host}`, '-nn', '-U', '-Q', 'out', '-c', '1000', filter]
    const child = lab.spawn('switch', argv)
    const seen: string[] = []
    createInterface(child.stdout!).on('line', line => seen.push(line))
    return { host, child, seen, ready: once(child.stderr!, 'data'), ended: once(child, 'exit') }
  })
  const file = `${lab.files(lab.client()).dir}/upload`
  try {
    await Promise.all(captures.map(c => c.ready))
    writeFileSync(file, pattern(BIG))
    const url = `http://${VIP}/upload/mtu`
    const curl = lab.spawn(lab.client(), [
      'curl',
      '-sS',
      '-T',
      file,
      '--limit-rate',
      '20M',
      '-w',
      '%header{x-host}',
      url,
    ])
    const answer = once(curl.stdout!, 'data') as Promise<[Buffer]>
    const mss = await until('the MSS of the upload', async () => {
      const { stdout } = await lab.exec(lab.client(), ['ss', '-tinH', 'state', 'established', 'dst', VIP])
      return /\bmss:(\d+)/.exec(stdout)?.[1]
    })
    const [host] = await answer
    assert.is(sha256Of(`${lab.files(String(host)).web}/uploads/mtu`), sha256Of(file))
    // 1500 less IP and TCP headers, and 12 bytes of time stamps: what an untouched path of MTU 1500 has.
    assert.is(mss, '1448')
    const captured = captures.find(c => c.host === String(host))!
    await captured.ended // 1000 full-size packets came
    await until('1000 lines', () => (captured.seen.length >= 1_000 ? true : undefined))
    const { address } = lab.place(String(host))
    for (const line of captured.seen)
      assert.match(line, new RegExp(`IP 10\\.10\\.1\\.\\d+\\.\\d+ > ${address}\\.`))
  } finally {
    for (const { child } of captures) child.kill()
  }
  for (const place of [...lab.nodes.map(n => n.name), ...clients(), 'router'])
    for (const counter of ['IpFragCreates', 'IpFragOKs', 'IpFragFails', 'IpReasmReqds', 'IpReasmFails'])
      assert.is(await kernelCounter(lab, place, counter), 0, `${counter} of ${place}`)
})

it('nothing was dropped, and no flow has the ports of another', async () => {
  for (const { name } of lab.nodes) {
    const { stdout, code } = await lab.shunt(name, ['drops', '--json'])
    assert.is(code, 0)
    assert.equal(JSON.parse(stdout).data.drops, [], name)
  }
  for (const name of forwarders()) {
    const used = (await flowsOf(lab, name)).map(f => f.identifier).filter(id => id !== '-')
    assert.ok(used.length > 1_000, `${name} shows ${used.length} flows`)
    assert.is(new Set(used).size, used.length)
  }
})

if (missingRoot() === undefined) it.run()
else skip('traffic-main', missingRoot()!)
