/** Bulk bytes through the VIP, up and down, in frames of 1500 bytes and jumbo ones, on both data planes. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Lab } from '../../src/lab/lab.ts'
import type { LabDataplane } from '../../src/lab/options.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { assertWhole, counters, grown, load, until, VIP, webFile, withLab } from '../support/traffic.ts'

const it = suite('iperf')
const noRoot = missingRoot()
const PORT = 5201
const BYTES = 40_000_000
/** TCP and IPv4, with timestamps. */
const HEADER_BYTES = 52

interface Transfer {
  readonly sent: number
  readonly received: number
  readonly megabitsPerSecond: number
}

const transfer = async (lab: Lab, ...more: string[]): Promise<Transfer> => {
  const argv = ['iperf3', '-J', '-c', VIP, '-p', String(PORT), '-n', String(BYTES), ...more]
  const { code, stdout, stderr } = await lab.exec(lab.client(), argv, { timeoutMs: 120_000 })
  assert.is(code, 0, `${stdout}\n${stderr}`)
  const { end } = JSON.parse(stdout) as {
    end: Record<'sum_sent' | 'sum_received', { bytes: number; bits_per_second: number }>
  }
  return {
    sent: end.sum_sent.bytes,
    received: end.sum_received.bytes,
    megabitsPerSecond: end.sum_received.bits_per_second / 1e6,
  }
}

/** Mbit/s, up and down. */
const speeds = new Map<string, readonly number[]>()

for (const mtu of [1500, 9000])
  for (const dataplane of ['xdp', 'nftables'] as const satisfies readonly LabDataplane[])
    testIf(noRoot, it, `${dataplane}, ${mtu} bytes`, () =>
      withLab(
        {
          ...{ combine: 'fc', forwarders: 1, hosts: 1, dataplane, mtu },
          configure: config => {
            const [web] = config.services!
            config.services!.push({ ...web!, name: 'iperf', port: PORT })
          },
        },
        async lab => {
          const server = lab.spawn('h1', ['iperf3', '-s', '-p', String(PORT)])
          server.stdout?.resume()
          server.unref()
          await until('iperf3', async () => {
            const { stdout } = await lab.exec('h1', ['ss', '-Hltn', `sport = :${PORT}`])
            return stdout.trim() === '' ? undefined : true
          })
          const before = await counters(lab)
          const link = await lab.linkCounters('f1')
          const up = await transfer(lab)
          const after = await counters(lab)
          const uplink = await lab.linkCounters('f1')
          const down = await transfer(lab, '-R')

          for (const { sent, received } of [up, down]) {
            assert.ok(sent >= BYTES, `${sent} bytes sent`)
            // It stops counting when the sender has given its last byte away: some are still under way.
            assert.ok(received > 0.2 * BYTES && received <= sent, `${received} of ${sent} bytes`)
          }
          const { path, sha256 } = webFile(lab, '/10m')
          const whole = await load(lab, lab.client(), {
            concurrency: 2,
            jobs: [
              { kind: 'get', count: 2, path, sha256 },
              { kind: 'put', count: 2, bytes: 10_000_000 },
            ],
          })
          assertWhole(lab, whole)
          // Upwards every segment goes by the forwarder, once in and once out, nearly all by the kernel; as large as the links take.
          const segments = Math.floor(up.received / (mtu - HEADER_BYTES))
          const bytes = uplink.rxBytes - link.rxBytes
          assert.ok(bytes > up.received && bytes < 1.2 * up.sent, `${bytes} bytes came in`)
          const routed = grown(before, after, 'kernel_route_hit', ['f1'])
          assert.ok(routed > 0.8 * segments, `${routed} of ${segments} packets by the kernel`)
          const xdp = grown(before, after, 'xdp_sent_back', ['f1'])
          if (dataplane === 'xdp') assert.ok(xdp > 0.8 * segments, `${xdp} of ${segments} by XDP`)
          else assert.is(xdp, 0)
          speeds.set(`${dataplane} ${mtu}`, [up.megabitsPerSecond, down.megabitsPerSecond])
        },
      ),
    )

it.after(() => {
  for (const mtu of [1500, 9000]) {
    const [xdp, nftables] = [speeds.get(`xdp ${mtu}`), speeds.get(`nftables ${mtu}`)]
    if (xdp === undefined || nftables === undefined) continue
    const ratio = (i: number): string => (xdp[i] / nftables[i]).toFixed(2)
    const all = [...xdp, ...nftables].map(Math.round).join(', ')
    process.stdout.write(
      `${mtu} bytes: XDP over nftables: up ${ratio(0)}, down ${ratio(1)} (Mbit/s: ${all})\n`,
    )
  }
})

it.run()
