/**
 * ICMP through a real cluster (R-A7), on both back-ends: paths with a smaller MTU than the ends know, on either side of the forwarder, and what else
 * ICMP does. Nobody probes for MTUs here, so that nothing but the errors can do it.
 */
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { DropsData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import type { LabDataplane } from '../../src/lab/options.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { type Counters, counters, grown, program, sha256Of, until, VIP, webFile } from '../support/traffic.ts'

const CLIENT_MTU = 1280
const HOST_MTU = 1400
const DATAPLANES: readonly LabDataplane[] = ['nftables', 'xdp']

const out = async (lab: Lab, place: string, ...argv: string[]): Promise<string> => {
  const { code, stdout, stderr } = await lab.exec(place, argv, { timeoutMs: 60_000 })
  assert.is(code, 0, `${place}: ${argv.join(' ')}: ${stdout}${stderr}`)
  return stdout
}
const ip = (lab: Lab, place: string, line: string): Promise<string> =>
  out(lab, place, 'ip', ...line.split(' '))

type All = Record<string, Counters>
const since =
  (before: All, after: All) =>
  (counter: string): number =>
    grown(before, after, counter)

for (const dataplane of DATAPLANES) {
  const it = suite(`pmtu on ${dataplane}`)
  let lab: Lab
  const client = (): string => lab.client()
  const host = (): string => lab.hosts[0]!.name
  const forwarder = (): string => lab.forwarders[0]!.name
  const hostAddress = (): string => lab.hosts[0]!.address!
  const clientAddress = (): string => lab.places.find(({ name }) => name === client())!.address!

  it.before(async () => {
    const options = { combine: 'fc', forwarders: 1, hosts: 1, clients: 1 } as const
    lab = await Lab.up({ name: labName(), dataplane, ...options })
    for (const place of [host(), client()])
      assert.is(
        (
          await out(lab, place, 'sysctl', '-n', 'net.ipv4.tcp_mtu_probing', 'net.ipv4.ip_no_pmtu_disc')
        ).trim(),
        '0\n0',
      )
  })

  it.after(async () => {
    await lab.down(0)
    assert.equal(leftovers(lab.name), [])
  })

  const log = (): string => readFileSync(lab.files(forwarder()).agentLog, 'utf8')
  const upload = async (name: string, ...options: string[]): Promise<void> => {
    const file = webFile(lab, '/10m')
    const source = `${lab.files(host()).web}/../../files/10m`
    await out(
      lab,
      client(),
      'curl',
      '-sS',
      '--fail',
      '--max-time',
      '50',
      ...options,
      '-T',
      source,
      `http://${VIP}/upload/${name}`,
    )
    assert.is(sha256Of(`${lab.files(host()).web}/uploads/${name}`), file.sha256)
  }
  const pmtuOf = async (place: string, to: string, from?: string): Promise<number | null> => {
    const line = await ip(lab, place, `-4 route get ${to}${from === undefined ? '' : ` from ${from}`}`)
    const found = /\bmtu (\d+)/.exec(line)
    return found === null ? null : Number(found[1])
  }

  it('a VIP answers echo, each request once', async () => {
    const before = await counters(lab)
    const replies = await out(lab, client(), ...program('ping.ts'), clientAddress(), VIP, '15')
    assert.equal(JSON.parse(replies), new Array(15).fill(1))
    const after = await counters(lab)
    assert.is(since(before, after)('icmp_echo_replies'), 15)
  })

  it('a download through a small link on the way to the client is whole, and the host knows the MTU', async () => {
    await ip(lab, 'router', `link set br1 mtu ${CLIENT_MTU}`)
    const before = await counters(lab)
    const file = webFile(lab, '/10m')
    const curl = lab.exec(client(), [
      'sh',
      '-c',
      `curl -sS --fail --max-time 50 --limit-rate 4M http://${VIP}/10m | sha256sum`,
    ])
    await until('the MTU at the socket', async () => {
      const sockets = await out(lab, host(), 'ss', '-tinH', 'dst', clientAddress())
      return sockets.includes(`pmtu:${CLIENT_MTU}`) ? true : undefined
    })
    const { stdout, stderr } = await curl
    assert.is(stdout.split(' ')[0], file.sha256, stderr)
    assert.is(await pmtuOf(host(), clientAddress(), VIP), CLIENT_MTU)
    const after = await counters(lab)
    assert.ok(since(before, after)('icmp_errors_to_hosts') > 0)
    assert.ok(since(before, after)('icmp_errors_restored') > 0)
    await ip(lab, 'router', 'link set br1 mtu 1500')
    // Else the host would ask the client for smaller segments from the beginning.
    await ip(lab, host(), 'route flush cache')
  })

  it('an upload to a host behind a small link is whole, and the client knows the MTU', async () => {
    await out(
      lab,
      'router',
      'sysctl',
      '-qw',
      'net.ipv4.conf.all.send_redirects=0',
      'net.ipv4.conf.eth0.send_redirects=0',
    )
    await ip(lab, 'router', `route replace ${hostAddress()}/32 dev eth0 mtu lock ${HOST_MTU}`)
    await ip(lab, forwarder(), `route replace ${hostAddress()}/32 via 10.10.0.1`)
    await until('the new way to the host', async () =>
      /next hops to hosts changed/.test(log()) ? true : undefined,
    )
    assert.is(await pmtuOf(client(), VIP), null)
    const before = await counters(lab)
    await upload('behind')
    assert.is(await pmtuOf(client(), VIP), HOST_MTU)
    const after = await counters(lab)
    assert.ok(since(before, after)('icmp_errors_to_clients') > 0)
    await ip(lab, client(), 'route flush cache')
  })

  it('a forwarder that finds packets too large for its own way to the host says so', async () => {
    await ip(lab, forwarder(), `route del ${hostAddress()}/32`)
    assert.is(await pmtuOf(client(), VIP), null)
    const before = await counters(lab)
    // Under way, with its route in the kernel, when the way becomes narrow.
    const running = upload('own', '--limit-rate', '1M')
    await until('its route in the kernel', async () =>
      grown(before, await counters(lab), 'kernel_route_hit') > 100 ? true : undefined,
    )
    await ip(lab, forwarder(), `route replace ${hostAddress()}/32 dev eth0 mtu lock ${HOST_MTU - 40}`)
    await running
    assert.is(await pmtuOf(client(), VIP), HOST_MTU - 40)
    const after = await counters(lab)
    assert.ok(since(before, after)('icmp_errors_made') > 0)
    await ip(lab, forwarder(), `route del ${hostAddress()}/32`)
    await ip(lab, client(), 'route flush cache')
  })

  it('a packet whose TTL ends at the forwarder is answered by that, as on any router', async () => {
    const exceeded = async (): Promise<number> =>
      Number((await out(lab, client(), 'nstat', '-asz', 'IcmpInTimeExcds')).trim().split(/\s+/).at(-2))
    const before = await exceeded()
    await ip(lab, client(), `route add ${VIP}/32 via 10.20.0.1 hoplimit 2`)
    const child = lab.exec(client(), ['curl', '-sS', '--max-time', '3', `http://${VIP}/`])
    await until('the error', async () => ((await exceeded()) > before ? true : undefined))
    await child
    await ip(lab, client(), `route del ${VIP}/32`)
    assert.match(await out(lab, client(), 'curl', '-sS', `http://${VIP}/`), host())
  })

  it('nothing was dropped for a wrong reason', async () => {
    for (const place of [forwarder(), host()]) {
      const { drops } = await lab.api<DropsData>(place, '/v1/drops')
      const seen = drops.filter(({ reason }) => /ICMP/.test(reason))
      assert.equal(seen, [], place)
    }
  })

  const reason = missingRoot()
  if (reason === undefined) it.run()
  else skip(`pmtu on ${dataplane}`, reason)
}
