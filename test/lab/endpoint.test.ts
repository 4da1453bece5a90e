/** An application that is bound to an address and port of its own serves a VIP, unchanged (R-B1), whatever carries the packets. */
// test-beside-others
import { readFileSync, writeFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parse, stringify } from 'yaml'
import { type ClusterDocument, documentSchema } from '../../src/config/document.ts'
import type { Delivery } from '../../src/config/fields.ts'
import type { AppsData, DropsData, HealthData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { agreed, applyAt, documentText } from '../support/cluster-orders.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { assertWhole, load, until, VIP, webFile, withLab } from '../support/traffic.ts'

const it = suite('endpoint')
const BIG = 10 * 1024 * 1024
const CLIENT_MTU = 1480
type Endpoint = NonNullable<ClusterDocument['services'][number]['endpoint']>

const documentOf = (
  endpoint: Endpoint | undefined,
  delivery: Delivery,
  check: 'none' | 'http' = 'http',
): string => {
  const document = documentSchema.parse(
    parse(documentText({ web: { h1: 50 } }, [{ name: 'web', port: 80, pool: 'web' }])),
  )
  document.pools[0]!.delivery = delivery
  const [service] = document.services
  if (endpoint !== undefined) service!.endpoint = endpoint
  service!.health =
    check === 'none'
      ? undefined
      : documentSchema.parse(
          parse(
            documentText({ web: { h1: 50 } }, [
              { name: 'web', port: 80, pool: 'web', health: { type: 'http', interval: 500 } },
            ]),
          ),
        ).services[0]!.health
  return stringify(document)
}

/** Its web server listens there and nowhere else from now on. */
const bindWeb = async (lab: Lab, listen: string): Promise<void> => {
  const file = `${lab.files('h1').web}/nginx.conf`
  writeFileSync(file, readFileSync(file, 'utf8').replace(/^( *listen ).*( backlog=4096;)$/m, `$1${listen}$2`))
  lab.killWeb('h1')
  await lab.exec('h1', [
    'sh',
    '-c',
    'rm -f "$0"/nginx.pid "$0"/store.sock; nginx -c "$0"/nginx.conf -e "$0"/error.log </dev/null >/dev/null 2>&1 &',
    lab.files('h1').web,
  ])
}

const answers = async (lab: Lab): Promise<string> =>
  (await lab.exec('client1', ['curl', '-s', '-m', '2', `http://${VIP}/addr`])).stdout.trim()

for (const dataplane of ['nftables', 'xdp'] as const)
  testIf(missingRoot(), it, `bound to addresses and ports of its own, ${dataplane}`, () =>
    withLab({ mode: 'managed', combine: 'fc', forwarders: 1, hosts: 1, dataplane }, async lab => {
      assert.is((await lab.exec('client1', ['ip', 'link', 'set', 'eth0', 'mtu', String(CLIENT_MTU)])).code, 0)
      const change = async (text: string): Promise<void> => {
        await agreed(lab, await applyAt(lab, 'f1', text))
      }
      const physical = async (): Promise<string[]> =>
        ((await lab.api<HealthData>('f1', '/v1/health')).cache ?? [])
          .flatMap(({ rows }) => rows)
          .filter(row => row.current === 'active' && row.health === 'healthy')
          .map(row => row.physical)
      const own = lab.place('h1').address!
      for (const [endpoint, listen, delivery] of [
        [{ address: '127.0.0.1', port: 8080 }, '127.0.0.1:8080', 'tunnel'],
        [{ port: 8081 }, `${own}:8081`, 'encapsulate'],
        [{ address: '127.0.0.1', port: 8082 }, '0.0.0.0:8082', 'tunnel'],
      ] as const) {
        await bindWeb(lab, listen)
        await change(documentOf(endpoint, delivery))
        const row = `${endpoint.port === 8081 ? own : '127.0.0.1'}:${endpoint.port}`
        await until(`a row at ${row}`, async () => ((await physical()).includes(row) ? true : undefined))
        await until('an answer', async () => ((await answers(lab)) === '' ? undefined : true))
        const { path, sha256 } = webFile(lab, '/10m')
        const result = await load(lab, 'client1', {
          tag: String(endpoint.port),
          concurrency: 6,
          jobs: [
            { kind: 'small', count: 60 },
            { kind: 'get', count: 1, path, sha256 },
            { kind: 'put', count: 1, bytes: BIG },
          ],
        })
        assertWhole(lab, result)
        // The application sees the client itself.
        const seen = await answers(lab)
        const { stdout } = await lab.exec('client1', ['ip', '-4', '-o', 'addr', 'show', 'dev', 'eth0'])
        assert.ok(seen !== '' && stdout.includes(` ${seen}/`), `${seen}: ${stdout}`)
        for (const { name } of lab.nodes)
          assert.equal((await lab.api<DropsData>(name, '/v1/drops')).drops, [], name)
      }
      const { listeners } = await lab.api<AppsData>('h1', '/v1/apps')
      assert.equal(listeners.find(({ address }) => address === '0.0.0.0:8082')?.services, ['web'])

      // A restart of the application needs nothing; while nobody listens, connections are refused, not given to others.
      lab.killWeb('h1')
      await lab.exec('h1', ['sh', '-c', 'while ss -Hltn sport = :8082 | grep -q .; do sleep 0.05; done'])
      assert.is(await answers(lab), '')
      await bindWeb(lab, '127.0.0.1:8082')
      await until('an answer again', async () => ((await answers(lab)) === '' ? undefined : true))

      // Without an endpoint nobody is at the VIP's port.
      await change(documentOf(undefined, 'tunnel', 'none'))
      assert.is(await answers(lab), '')
    }),
  )

it.run()
