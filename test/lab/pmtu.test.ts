/**
 * ICMP through a real cluster (R-A7), on both back-ends and in both families at once: paths with a smaller MTU than the ends know, on either
 * side of the forwarder, and what else ICMP does. Nobody probes for MTUs here, so that nothing but the errors can do it.
 */
// test-beside-others
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import type { DropsData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import type { LabDataplane, LabService } from '../../src/lab/options.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { counters, grown, program, sha256Of, until, VIP, webFile } from '../support/traffic.ts'

const CLIENT_MTU = 1280
const HOST_MTU = 1400
const OWN_MTU = 1360
const DATAPLANES: readonly LabDataplane[] = ['nftables', 'xdp']
const VIP6 = 'fd10:99::1'
const SERVICES: LabService[] = [
  { name: 'web', vip: VIP, port: 80, protocol: 'tcp' },
  { name: 'web6', vip: VIP6, port: 80, protocol: 'tcp' },
]

/** The same thing done by the agent and by XDP. */
const EITHER = {
  echo: ['icmp_echo_replies', 'xdp_icmp_echo'],
  toHosts: ['icmp_errors_to_hosts', 'xdp_icmp_to_host'],
  restored: ['icmp_errors_restored', 'xdp_icmp_restored'],
} as const
type All = Parameters<typeof grown>[0]
const done = (before: All, after: All, what: keyof typeof EITHER): number =>
  EITHER[what].reduce((sum, counter) => sum + grown(before, after, counter), 0)

/** What a test needs to know of one family. */
interface Way {
  readonly family: 4 | 6
  readonly vip: string
  readonly url: string
  readonly client: string
  readonly host: string
  readonly router: { readonly cluster: string; readonly clients: string }
  /** Of a single address. */
  readonly bits: 32 | 128
  readonly exceeded: string
}

for (const dataplane of DATAPLANES) {
  const it = suite(`pmtu on ${dataplane}`)
  let lab: Lab
  let ways: Way[]
  const place = (name: string) => lab.places.find(one => one.name === name)!
  const client = (): string => lab.client()
  const host = (): string => lab.hosts[0]!.name
  const forwarder = (): string => lab.forwarders[0]!.name

  const out = async (at: string, ...argv: string[]): Promise<string> => {
    const { code, stdout, stderr } = await lab.exec(at, argv, { timeoutMs: 60_000 })
    assert.is(code, 0, `${at}: ${argv.join(' ')}: ${stdout}${stderr}`)
    return stdout
  }
  const ip = (at: string, family: 4 | 6, line: string): Promise<string> =>
    out(at, 'ip', `-${family}`, ...line.split(' '))
  const both = async <T>(body: (way: Way) => Promise<T>): Promise<T[]> => Promise.all(ways.map(body))

  const upload = async ({ url, family }: Way, name: string, ...options: string[]): Promise<void> => {
    const file = webFile(lab, '/10m')
    const target = `${name}${family}`
    const source = `${lab.files(host()).web}/../../files/10m`
    const argv = ['-sS', '--fail', '--max-time', '50', ...options, '-T', source, `${url}upload/${target}`]
    await out(client(), 'curl', ...argv)
    assert.is(sha256Of(`${lab.files(host()).web}/uploads/${target}`), file.sha256)
  }
  /** As the kernel of a place has learnt it; null: it knows of none. */
  const pmtu = async (at: string, { family }: Way, to: string, from?: string): Promise<number | null> => {
    const line = await ip(at, family, `route get ${to}${from === undefined ? '' : ` from ${from}`}`)
    const found = /\bmtu (\d+)/.exec(line)
    return found === null ? null : Number(found[1])
  }
  const hopChanges = (): number =>
    readFileSync(lab.files(forwarder()).agentLog, 'utf8').split('next hops to hosts changed').length - 1

  it.before(async () => {
    const options = { combine: 'fc', forwarders: 1, hosts: 1, clients: 1, services: SERVICES } as const
    lab = await Lab.up({ name: labName(), dataplane, ...options })
    const common = { client: place(client()), host: place(host()) }
    ways = [
      {
        ...{ family: 4, vip: VIP, url: `http://${VIP}/`, bits: 32, exceeded: 'IcmpInTimeExcds' },
        ...{ client: common.client.address!, host: common.host.address! },
        router: { cluster: '10.10.0.1', clients: '10.20.0.1' },
      },
      {
        ...{ family: 6, vip: VIP6, url: `http://[${VIP6}]/`, bits: 128, exceeded: 'Icmp6InTimeExcds' },
        ...{ client: common.client.address6!, host: common.host.address6! },
        router: { cluster: 'fd10:10::1', clients: 'fd10:20::1' },
      },
    ]
    for (const at of [host(), client()]) {
      const text = await out(at, 'sysctl', '-n', 'net.ipv4.tcp_mtu_probing', 'net.ipv4.ip_no_pmtu_disc')
      assert.is(text.trim(), '0\n0')
    }
    // From here on what goes to the host goes by the router, whose link there is smaller.
    const redirects = ['net.ipv4.conf.all.send_redirects=0', 'net.ipv4.conf.eth0.send_redirects=0']
    await out('router', 'sysctl', '-qw', ...redirects)
    await both(async way => {
      const to = `${way.host}/${way.bits}`
      await ip('router', way.family, `route replace ${to} dev eth0 mtu lock ${HOST_MTU}`)
      await ip(forwarder(), way.family, `route replace ${to} via ${way.router.cluster}`)
    })
  })

  it.after(async () => {
    await lab?.down(0)
    if (lab !== undefined) assert.equal(leftovers(lab.name), [])
  })

  it('a VIP answers echo, each request once', async () => {
    const before = await counters(lab)
    await both(async ({ client: from, vip }) => {
      const replies = await out(client(), ...program('ping.ts'), from, vip, '15')
      assert.equal(JSON.parse(replies), new Array(15).fill(1), vip)
    })
    const after = await counters(lab)
    assert.is(done(before, after, 'echo'), 30)
    assert.is(grown(before, after, 'xdp_icmp_echo'), dataplane === 'xdp' ? 30 : 0)
  })

  it('a download through a small link on the way to the client is whole, and the host knows the MTU', async () => {
    await out('router', 'ip', 'link', 'set', 'br1', 'mtu', String(CLIENT_MTU))
    const before = await counters(lab)
    const file = webFile(lab, '/10m')
    await both(async way => {
      const curl = `curl -sS --fail --max-time 50 --limit-rate 4M ${way.url}10m | sha256sum`
      const running = lab.exec(client(), ['sh', '-c', curl])
      let ended = ''
      void running.then(({ stdout, stderr }) => {
        ended = `, and the download has ended: ${stdout}${stderr}`
      })
      let seen = ''
      await until('the MTU at the socket', async () => {
        if (ended !== '') throw new Error(`the MTU was not seen at the socket: ${seen}${ended}`)
        const sockets = await out(
          host(),
          'ss',
          '-tinH',
          'dst',
          way.family === 4 ? way.client : `[${way.client}]`,
        )
        seen = sockets || seen
        return sockets.includes(`pmtu:${CLIENT_MTU}`) ? true : undefined
      })
      const { stdout, stderr } = await running
      assert.is(stdout.split(' ')[0], file.sha256, stderr)
      assert.is(await pmtu(host(), way, way.client, way.vip), CLIENT_MTU)
    })
    const after = await counters(lab)
    assert.ok(done(before, after, 'toHosts') > 1)
    assert.ok(done(before, after, 'restored') > 1)
    await out('router', 'ip', 'link', 'set', 'br1', 'mtu', '1500')
    // Else the host would ask the client for smaller segments from the beginning.
    await both(({ family }) => ip(host(), family, 'route flush cache'))
  })

  it('an upload to a host behind a small link is whole, and the client knows the MTU', async () => {
    await until('the new way to the host', () => (hopChanges() > 0 ? true : undefined), 20_000)
    const before = await counters(lab)
    await both(async way => {
      assert.is(await pmtu(client(), way, way.vip), null)
      await upload(way, 'behind')
      assert.is(await pmtu(client(), way, way.vip), HOST_MTU)
      await ip(client(), way.family, 'route flush cache')
    })
    assert.ok(grown(before, await counters(lab), 'icmp_errors_to_clients') > 1)
  })

  it('a forwarder whose own way to the host becomes too small for what is under way says so', async () => {
    await both(({ family, host: to, bits }) => ip(forwarder(), family, `route del ${to}/${bits}`))
    const before = await counters(lab)
    const running = both(way => upload(way, 'own', '--limit-rate', '1M'))
    await until('their routes in the kernel', async () =>
      grown(before, await counters(lab), 'kernel_route_hit') > 200 ? true : undefined,
    )
    await both(({ family, host: to, bits }) =>
      ip(forwarder(), family, `route replace ${to}/${bits} dev eth0 mtu lock ${OWN_MTU}`),
    )
    await running
    await both(async way => {
      assert.is(await pmtu(client(), way, way.vip), OWN_MTU)
      await ip(client(), way.family, 'route flush cache')
      await ip(forwarder(), way.family, `route del ${way.host}/${way.bits}`)
    })
    assert.ok(grown(before, await counters(lab), 'icmp_errors_made') > 1)
  })

  it('a packet whose TTL ends at the forwarder is answered by that, as on any router', async () => {
    await both(async ({ family, vip, url, bits, exceeded, router }) => {
      const heard = async (): Promise<number> =>
        Number((await out(client(), 'nstat', '-asz', exceeded)).trim().split(/\s+/).at(-2))
      const before = await heard()
      await ip(client(), family, `route add ${vip}/${bits} via ${router.clients} hoplimit 2`)
      const child = lab.exec(client(), ['curl', '-sS', '--max-time', '3', url])
      await until('the error', async () => ((await heard()) > before ? true : undefined))
      await child
      await ip(client(), family, `route del ${vip}/${bits}`)
      assert.match(await out(client(), 'curl', '-sS', url), host())
    })
  })

  it('no ICMP message was dropped, but for being one too many at a time', async () => {
    for (const at of [forwarder(), host()]) {
      const { drops } = await lab.api<DropsData>(at, '/v1/drops')
      assert.equal(
        drops.filter(({ reason, number }) => /ICMP/.test(reason) && number !== DROP.ICMP_RATE),
        [],
        at,
      )
    }
  })

  const reason = missingRoot()
  if (reason === undefined) it.run()
  else skip(`pmtu on ${dataplane}`, reason)
}
