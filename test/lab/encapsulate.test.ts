/** Full encapsulation per pool (R-A4): real ports between forwarder and host, every byte right, and changed both ways under traffic. */
// test-beside-others
import { once } from 'node:events'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parse, stringify } from 'yaml'
import { documentSchema } from '../../src/config/document.ts'
import type { Delivery } from '../../src/config/fields.ts'
import type { DropsData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { agreed, applyAt, documentText, vipsOn } from '../support/cluster-orders.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import {
  assertWhole,
  counters,
  grown,
  load,
  program,
  until,
  VIP,
  webFile,
  withLab,
} from '../support/traffic.ts'

const it = suite('encapsulate')
const BIG = 10 * 1024 * 1024
/** So that a client's full segments have room for the outer header: nobody tells it of the way's MTU here. */
const CLIENT_MTU = 1460
const VIP6 = 'fd10:99::1'
const VIP_HEX = '0x0a630001'

const documentOf = (delivery: Delivery, hosts: Record<string, number>): string => {
  const document = documentSchema.parse(
    parse(
      documentText(
        { web: hosts },
        [
          { name: 'web', port: 80, pool: 'web' },
          { name: 'web6', vip: VIP6, port: 80, pool: 'web' },
        ],
        {
          linger: 500,
          routeLease: 2000,
        },
      ),
    ),
  )
  document.pools[0]!.delivery = delivery
  return stringify(document)
}

/** What the forwarder sends, as the switch between it and the hosts sees it. */
const watch = async (
  lab: Lab,
): Promise<() => Promise<{ whole: number; whole6: number; tunnelled: number }>> => {
  const { tunnel, tunnel6 } = lab.place('f1')
  const input = `table netdev seen {
    counter whole { }
    counter whole6 { }
    counter tunnelled { }
    chain from_f1 {
      type filter hook ingress device "to-f1" priority 0; policy accept;
      ip saddr ${tunnel} ip protocol 4 @nh,288,32 ${VIP_HEX} @nh,336,16 80 counter name whole
      ip6 nexthdr 41 @nh,320,8 0x60 @nh,656,16 80 counter name whole6
      ip saddr ${tunnel} ip protocol tcp counter name tunnelled
      ip6 saddr ${tunnel6} ip6 nexthdr tcp counter name tunnelled
    }
  }`
  const { code, stderr } = await lab.exec('switch', ['nft', '-f', '-'], { input })
  assert.is(code, 0, stderr)
  return async () => {
    const { stdout } = await lab.exec('switch', ['nft', '-j', 'list', 'counters', 'table', 'netdev', 'seen'])
    const found = new Map(
      (
        JSON.parse(stdout) as { nftables: { counter?: { name: string; packets: number } }[] }
      ).nftables.flatMap(({ counter }) =>
        counter === undefined ? [] : [[counter.name, counter.packets] as const],
      ),
    )
    return { whole: found.get('whole')!, whole6: found.get('whole6')!, tunnelled: found.get('tunnelled')! }
  }
}

const slowDownload = (lab: Lab, seconds: number): { host: Promise<string>; whole: Promise<void> } => {
  const { path, bytes, sha256 } = webFile(lab, '/10m')
  const child = lab.spawn('client1', [
    ...program('slow-reader.ts'),
    ...[`http://${VIP}${path}`, String(bytes), String(seconds)],
  ])
  let [said, errors] = ['', '']
  child.stdout!.on('data', chunk => {
    said += chunk
  })
  child.stderr!.on('data', chunk => {
    errors += chunk
  })
  const ended = once(child, 'close')
  const host = until('the first bytes', () => /^(\w+)\n/.exec(said)?.[1])
  return {
    host,
    whole: (async () => {
      const name = await host
      const [code] = await ended
      assert.is(code, 0, errors)
      assert.is(said, `${name}\n${sha256}\n`)
    })(),
  }
}

for (const dataplane of ['nftables', 'xdp'] as const)
  testIf(missingRoot(), it, `a pool that is encapsulated, ${dataplane}`, () =>
    withLab(
      {
        ...{ mode: 'managed', combine: 'fc', forwarders: 1, hosts: 2, dataplane },
        services: [
          { name: 'web', vip: VIP, port: 80, protocol: 'tcp' },
          { name: 'web6', vip: VIP6, port: 80, protocol: 'tcp' },
        ],
      },
      async lab => {
        const change = async (text: string): Promise<void> => {
          await agreed(lab, await applyAt(lab, 'f1', text))
        }
        const both = { h1: 50, h2: 50 }
        for (const [place, command] of [
          ['client1', ['ip', 'link', 'set', 'eth0', 'mtu', String(CLIENT_MTU)]],
          ['client1', ['sysctl', '-qw', 'net.ipv4.tcp_rmem=4096 65536 131072']],
        ] as const)
          assert.is((await lab.exec(place, [...command])).code, 0)
        await change(documentOf('encapsulate', both))
        const seen = await watch(lab)
        const before = await counters(lab)
        const { path, sha256 } = webFile(lab, '/10m')
        const result = await load(lab, 'client1', {
          concurrency: 6,
          jobs: [
            { kind: 'small', count: 40 },
            { kind: 'get', count: 2, path, sha256 },
            { kind: 'put', count: 2, bytes: BIG },
          ],
        })
        assertWhole(lab, result)
        const six = await load(lab, 'client1', {
          ...{ vip: VIP6, tag: 'six', concurrency: 4 },
          jobs: [
            { kind: 'small', count: 20 },
            { kind: 'get', count: 1, path, sha256 },
            { kind: 'put', count: 1, bytes: BIG },
          ],
        })
        assertWhole(lab, six)
        const after = await counters(lab)
        const { whole, whole6, tunnelled } = await seen()
        // Two uploads are some 14,700 segments; SYN and FIN go the same way.
        assert.ok(whole > 14_000, `${whole} whole packets`)
        assert.ok(whole6 > 7_000, `${whole6} whole packets of IPv6`)
        assert.is(tunnelled, 0)
        assert.is(grown(before, after, 'forwarder_mappings_sent', ['f1']), 0)
        const byKernel = grown(before, after, 'xdp_encapsulated', ['f1'])
        const taken = grown(before, after, 'xdp_decapsulated', ['h1', 'h2'])
        const bySlowPath = grown(before, after, 'host_decapsulated', ['h1', 'h2'])
        if (dataplane === 'xdp') assert.ok(byKernel > 18_000 && taken > 18_000, `${byKernel}, ${taken}`)
        else assert.ok(bySlowPath > 21_000 && byKernel + taken === 0, `${bySlowPath}`)
        for (const { name } of lab.nodes)
          assert.equal((await lab.api<DropsData>(name, '/v1/drops')).drops, [], name)

        // A host that leaves the pool keeps the VIP as long as a connection of its own needs it.
        const last = slowDownload(lab, 3)
        const left = await last.host
        await change(
          documentOf(
            'encapsulate',
            Object.fromEntries(Object.entries(both).filter(([name]) => name !== left)),
          ),
        )
        assert.equal(await vipsOn(lab, left), [VIP])
        await last.whole
        await until(
          'the VIP to go',
          async () => ((await vipsOn(lab, left)).length === 0 ? true : undefined),
          20_000,
        )

        // Another delivery and back, under a connection.
        const running = slowDownload(lab, 8)
        await running.host
        const atTunnel = await seen()
        await change(documentOf('tunnel', both))
        await until('tunnelled packets', async () =>
          (await seen()).tunnelled > atTunnel.tunnelled + 5 ? true : undefined,
        )
        await change(documentOf('encapsulate', both))
        const atWhole = await seen()
        await until('whole packets', async () =>
          (await seen()).whole > atWhole.whole + 5 ? true : undefined,
        )
        assert.is((await seen()).tunnelled, atWhole.tunnelled)
        await running.whole
      },
    ),
  )

it.run()
