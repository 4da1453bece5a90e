/** What operators see of the data plane, on both back-ends: trace, capture, drops and rates against what a client really does. */
// test-beside-others
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { TraceLink } from '../../src/cli/trace-chain.ts'
import type { DropsData, HostsData, Rates, TraceData, VipsData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { SHUNT } from '../support/cli.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { flowsOf, program, startLoad, until, VIP, withLab } from '../support/traffic.ts'

const it = suite('observe')
const PORT = 40_123
/** Times of the machine and of the samples are not the same: rates are near when they are within this. */
const FACTOR = 2.5

/** The chain of answers, by node. */
const trace = async (
  lab: Lab,
  node: string,
  ...words: string[]
): Promise<Map<string, TraceLink['trace']>> => {
  const { stdout, stderr } = await lab.shunt(node, ['trace', '--json', ...words])
  assert.is.not(stdout, '', stderr)
  const { schema, data } = JSON.parse(stdout)
  assert.is(schema, 'shunt.trace-chain/1', stdout)
  return new Map(data.answers.map((link: TraceLink) => [link.node, link.trace]))
}

const clientAddress = async (lab: Lab): Promise<string> => {
  const { stdout } = await lab.exec(lab.client(), ['ip', '-j', 'route', 'get', VIP])
  return JSON.parse(stdout)[0].prefsrc as string
}

interface Held {
  ask(requests: number): Promise<string[]>
  end(): Promise<void>
}
const hold = (lab: Lab): Held => {
  const child = lab.spawn(lab.client(), [...program('held-client.ts'), VIP, '80', String(PORT)])
  const errors = text(child.stderr!)
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return {
    async ask(requests) {
      child.stdin!.write(`${requests}\n`)
      const { value, done } = await lines.next()
      return done ? assert.unreachable(await errors) : JSON.parse(value)
    },
    async end() {
      child.stdin!.end()
      await once(child, 'close')
    },
  }
}

/** Before, during and after a connection: trace names the host that serves it, and changes nothing. */
const tracing = async (lab: Lab, back: 'xdp' | 'nftables'): Promise<void> => {
  const client = await clientAddress(lab)
  const tuple = ['tcp', `${client}:${PORT}`, `${VIP}:80`]
  const before = await trace(lab, 'f1', ...tuple)
  assert.is(before.get('f1')?.verdict, 'classifier')
  assert.is(before.get('f1')?.flow, null)
  const { choice } = before.get('c1')!
  const expected = choice?.host
  assert.is(choice?.by, 'hash')
  assert.equal(choice?.candidates.map(({ percent }) => percent).sort(), [50, 50])
  assert.is(before.get(expected!)?.hostSide?.socket, 'listen')
  assert.equal(await flowsOf(lab, 'f1'), [], 'asking makes no flow')

  const query = new URLSearchParams({ client: `${client}:${PORT}`, vip: `${VIP}:80` })
  const ask = (): Promise<TraceData> => lab.api<TraceData>('f1', `/v1/trace?${query}`)
  const held = hold(lab)
  assert.equal(await held.ask(30), [expected], 'as foretold')
  await until('a route in the kernel', async () => {
    if ((await ask()).kernel !== null) return true
    await held.ask(1)
  })
  const during = await trace(lab, 'f1', ...tuple)
  const f1 = during.get('f1')!
  assert.equal([f1.verdict, f1.host, f1.service], ['forwarded', expected, 'web'])
  assert.equal([f1.kernel?.by, f1.kernel?.host, f1.kernel?.mapped], [back, expected, true])
  assert.equal([f1.flow?.host, f1.flow?.mapped, f1.flow?.plumbed], [expected, true, true])
  assert.is(f1.nextHop?.interface, 'eth0')
  const host = during.get(expected!)!
  assert.is(host.hostSide?.socket, 'established')
  assert.is(host.hostSide?.mappings[0]?.identifier, f1.kernel?.identifier)

  // Looking is no use: the age of the last use only grows.
  const idle = async (): Promise<number> => (await ask()).flow!.idleMs
  const first = await idle()
  await until('the flow to look older', async () => ((await idle()) > first ? true : undefined))

  // As ss shows it on the host, its own end first.
  const pasted = await trace(lab, expected!, `ESTAB 0 0 ${VIP}:80 ${client}:${PORT}`)
  assert.is(pasted.get(expected!)?.hostSide?.socket, 'established')
  const { stdout } = await lab.shunt('f1', ['trace', ...tuple])
  assert.match(stdout, new RegExp(`^f1 +kernel +route to ${expected} \\(${back}\\), identifier `, 'm'))
  assert.match(stdout, new RegExp(`^${expected} +socket +established$`, 'm'))

  await held.end()
  const after = await until('the end of the connection', async () => {
    const found = await ask()
    return found.flow?.state === 'closing' ? found : undefined
  })
  assert.is(after.host, expected)

  const wrong = await lab.shunt('f1', ['trace', 'tcp', `${client}:${PORT}`, `${VIP}:81`])
  assert.is(wrong.code, 3)
  assert.match(wrong.stderr, /f1 would drop the packet: the VIP has no service on this port/)
}

interface Capturing {
  child: ChildProcess
  /** Its end. */
  ended: Promise<{ code: number | null; stderr: string }>
}
const capture = async (lab: Lab, node: string, ...argv: string[]): Promise<Capturing> => {
  const child = lab.spawn(node, [...SHUNT, 'capture', ...argv, '--socket', lab.socket(node)])
  let stderr = ''
  const begun = new Promise<void>(resolve => {
    child.stderr!.on('data', chunk => {
      stderr += chunk
      if (stderr.includes('captures;')) resolve()
    })
  })
  child.stdout!.resume()
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stderr }))
  await Promise.race([begun, ended])
  return { child, ended }
}

/** Sends datagrams to a port of the VIP that has no service for them, and as many to the next one. */
const send = async (lab: Lab, perSecond: number, count: number): Promise<{ sent: number; ms: number }> => {
  const ports = ['80', String(perSecond), String(count), '81']
  const { stdout, stderr } = await lab.exec(
    lab.client(),
    [...program('steady-datagrams.ts'), VIP, ...ports],
    { timeoutMs: 60_000 },
  )
  assert.is.not(stdout, '', stderr)
  return JSON.parse(stdout)
}

const packetSockets = async (lab: Lab, node: string): Promise<number> =>
  (await lab.exec(node, ['cat', '/proc/net/packet'])).stdout.split('\n').length

/** A capture has the packets of the VIP and port, in order, as many as it may; and nothing stays behind. */
const capturing = async (lab: Lab, back: 'xdp' | 'nftables'): Promise<void> => {
  const file = join(lab.files('f1').dir, 'web.pcapng')
  const sockets = await packetSockets(lab, 'f1')
  const one = await capture(lab, 'f1', `${VIP}:80`, '--count', '40', '--duration', '60s', '-w', file)
  const second = await lab.shunt('f1', ['capture', VIP])
  assert.is(second.code, 5)
  assert.match(second.stderr, /a capture of 10\.99\.0\.1 runs on this node already/)
  await lab.exec(lab.client(), ['curl', '-s', '--local-port', String(PORT + 1), `http://${VIP}/`])
  await send(lab, 200, 100)
  const { code, stderr } = await one.ended
  assert.equal([code, /40 packets, 0 lost$/m.test(stderr)], [0, true], stderr)

  const { stdout } = await lab.exec('f1', ['tcpdump', '-nn', '-r', file])
  const lines = stdout.trim().split('\n')
  assert.is(lines.length, 40)
  assert.ok(
    lines.every(line => line.includes(`> ${VIP}.80: `)),
    stdout,
  )
  const tcp = lines.filter(line => line.includes('Flags ['))
  // SYN, ACK, request and FIN at least.
  assert.ok(tcp.length >= 4 && tcp[0]!.includes('Flags [S]'), stdout)
  const bytes = readFileSync(file)
  const payloads = lines.length - tcp.length
  for (let n = 0; n < payloads; n++) {
    const number = Buffer.alloc(4)
    number.writeUInt32BE(n)
    // UDP length 12, a checksum, the number.
    assert.ok(bytes.includes(Buffer.concat([Buffer.of(0, 80, 0, 12)])), String(n))
  }
  assert.is(bytes.includes('xdp dropped: not a service'), back === 'xdp')

  const idle = await lab.shunt('f1', ['capture', VIP, '--client', '192.0.2.1', '--duration', '1s'])
  assert.equal([idle.code, idle.stdout], [0, ''], idle.stderr)
  assert.match(idle.stderr, /0 packets, 0 lost; the time is up/)

  const killed = await capture(lab, 'f1', VIP, '--duration', '60s')
  killed.child.kill('SIGKILL')
  await killed.ended
  await until('the end of the killed one', async () =>
    (await lab.shunt('f1', ['capture', VIP, '--duration', '1s'])).code === 0 ? true : undefined,
  )
  const stopped = await capture(lab, 'f1', VIP, '--duration', '60s')
  stopped.child.kill('SIGINT')
  assert.is((await stopped.ended).code, 130)
  await until('no packet socket more than before', async () =>
    (await packetSockets(lab, 'f1')) === sockets ? true : undefined,
  )

  // At hosts: what the stack gets, restored.
  const [h1, h2] = await Promise.all(
    ['h1', 'h2'].map(host => capture(lab, host, `${VIP}:80`, '--count', '3', '--duration', '60s')),
  )
  await Promise.all(
    Array.from({ length: 20 }, () => lab.exec(lab.client(), ['curl', '-s', `http://${VIP}/`])),
  )
  for (const each of [h1!, h2!]) {
    const ended = await each.ended
    assert.is(ended.code, 0, ended.stderr)
    assert.match(ended.stderr, /3 packets, 0 lost/)
  }
}

/** While bad packets come, `drops --watch` tells how many a second; all are in the count in the end. */
const dropping = async (lab: Lab): Promise<void> => {
  const count = async (): Promise<number> =>
    (await lab.api<DropsData>('f1', '/v1/drops')).drops.find(({ number }) => number === 9)?.count ?? 0
  const before = await count()
  const child = lab.spawn('f1', [
    ...[...SHUNT, 'drops', '--all', '--watch', '--json', '--interval', '1000'],
    ...['--socket', lab.socket('f1')],
  ])
  const rates: number[] = []
  const lines = createInterface({ input: child.stdout! })
  const first = once(lines, 'line')
  lines.on('line', line => {
    const { drops } = JSON.parse(line).data as {
      drops: { node: string; number: number; perSecond: number }[]
    }
    rates.push(drops.find(({ node, number }) => node === 'f1' && number === 9)?.perSecond ?? 0)
  })
  await first
  const { sent, ms } = await send(lab, 200, 1000)
  assert.is((await count()) - before, 2 * sent)
  const most = Math.max(...rates)
  const real = (2 * sent * 1000) / ms
  assert.ok(most > real / FACTOR && most < real * FACTOR, `${rates} for ${real}`)
  child.kill('SIGINT')
  const [code] = await once(child, 'close')
  assert.is(code, 130)
}

/** Rates of the service against what left the client's interface meanwhile, and against the connections that it made. */
const rating = async (lab: Lab): Promise<void> => {
  const steady = startLoad(lab, lab.client(), {
    ...{ concurrency: 2, gapMs: 8 },
    jobs: [{ kind: 'small', count: 1 }],
  })
  const ratesOf = async (): Promise<Rates | null | undefined> =>
    (await lab.api<VipsData>('f1', '/v1/vips')).vips.find(({ service }) => service === 'web')?.rates
  await until('the load', async () => ((await ratesOf())?.connections ? true : undefined))
  const startMs = performance.now()
  const start = await lab.linkCounters(lab.client())
  const seen = await until(
    'rates over five seconds',
    async () => (performance.now() - startMs > 5_500 ? ((await ratesOf()) ?? undefined) : undefined),
    30_000,
  )
  const end = await lab.linkCounters(lab.client())
  const ms = performance.now() - startMs
  const { hosts } = await lab.api<HostsData>('f1', '/v1/hosts')
  const { stdout } = await lab.shunt('f1', ['vips'])
  const result = await steady.stop()
  const near = (what: string, told: number, real: number): void =>
    assert.ok(told > real / FACTOR && told < real * FACTOR, `${what}: ${told} for ${real}`)
  near('packets', seen.packets, ((end.txPackets - start.txPackets) * 1000) / ms)
  // The link counts Ethernet headers too.
  near('bytes', seen.bytes, ((end.txBytes - start.txBytes) * 1000) / ms)
  near('connections', seen.connections!, (result.done * 1000) / result.ms)
  near(
    'by host',
    hosts.reduce((all, { rates }) => all + (rates?.packets ?? 0), 0),
    seen.packets,
  )
  assert.match(stdout, /PKT\/S +BYTE\/S +CONN\/S\nweb .* [1-9][\d.]* +[\d.]+k? +[1-9][\d.]*\n/)
}

for (const back of ['xdp', 'nftables'] as const)
  testIf(missingRoot(), it, `${back}: trace, capture, drops and rates say what happens`, () =>
    withLab({ forwarders: 1, hosts: 2, dataplane: back }, async lab => {
      await tracing(lab, back)
      await capturing(lab, back)
      await dropping(lab)
      await rating(lab)
    }),
  )

it.run()
