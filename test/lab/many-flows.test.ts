/** Very many connections at once on XDP (`make flows`: 100,000): all are held, none is evicted, and each goes by its route in the kernel. */
// test-timeout-ms: 900000
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PLUMB_AFTER_PACKETS } from '../../src/agent/dataplane/engine-parts.ts'
import type { StatusData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import type { Configure } from '../../src/lab/nodes.ts'
import { compileC, compiler } from '../support/c-program.ts'
import { RAW_PORT, withRaw } from '../support/raw.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { counters, grown, VIP, withLab } from '../support/traffic.ts'

const it = suite('many-flows')
const FLOWS = Number(process.env.SHUNT_FLOWS ?? 30_000)
const SAMPLE = 1000
/** Of the client, and of each host: a process may have some ten thousand files. */
const PROCESSES = 10

class Client {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(child: ChildProcess) {
    this.#child = child
    child.stderr!.pipe(process.stderr)
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  }

  async said(): Promise<string[]> {
    return String((await this.#lines.next()).value).split(' ')
  }

  ask(line: string): Promise<string[]> {
    this.#child.stdin!.write(`${line}\n`)
    return this.said()
  }

  async end(): Promise<void> {
    this.#child.stdin!.end()
    if (this.#child.exitCode === null) await once(this.#child, 'close')
  }
}

/** Servers on all hosts, and clients with addresses behind the lab's own client. */
const start = async (lab: Lab, path: string): Promise<{ clients: Client[]; servers: ChildProcess[] }> => {
  const client = lab.client()
  const clientAddress = lab.places.find(({ name }) => name === client)!.address!
  await lab.exec(client, ['sysctl', '-qw', 'net.ipv4.ip_local_port_range=1024 65535'])
  await lab.exec('router', ['ip', 'route', 'add', '10.77.0.0/24', 'via', clientAddress])
  const servers: ChildProcess[] = []
  for (const { name } of lab.hosts) {
    await lab.exec(name, ['sysctl', '-qw', 'net.core.somaxconn=4096'])
    const server = lab.spawn(name, [path, 'server', String(RAW_PORT), String(PROCESSES)])
    server.stderr!.pipe(process.stderr)
    await once(server.stdout!, 'data')
    servers.push(server)
  }
  const clients: Client[] = []
  for (let i = 0; i < PROCESSES; i++) {
    const from = `10.77.0.${i + 1}`
    await lab.exec(client, ['ip', 'address', 'add', `${from}/32`, 'dev', 'lo'])
    const argv = [path, 'client', VIP, String(RAW_PORT), String(FLOWS / PROCESSES), from]
    clients.push(new Client(lab.spawn(client, argv)))
  }
  return { clients, servers }
}

const used = async (lab: Lab, node: string, table: string): Promise<number> => {
  const { limits } = await lab.api<StatusData>(node, '/v1/status')
  assert.equal(
    limits.filter(({ evicted }) => evicted > 0),
    [],
    node,
  )
  return limits.find(({ name }) => name === table)!.used
}

/** All connections are begun at once: nothing but this lab has so many half-open ones. */
const roomy: Configure = config => {
  config.limits = { ...config.limits!, embryonicFlows: 2 * FLOWS }
}

const why = missingRoot() ?? (compiler() === null ? 'no C compiler' : undefined)

testIf(why, it, `${FLOWS} connections`, () =>
  withLab(
    { combine: 'fc', forwarders: 1, hosts: 2, dataplane: 'xdp', configure: withRaw(roomy) },
    async lab => {
      using c = compileC(new URL('../support/many-flows.c', import.meta.url).pathname, '.')
      const startMs = performance.now()
      const { clients, servers } = await start(lab, c.path)
      for (const [what, , failed] of await Promise.all(clients.map(one => one.said())))
        assert.equal([what, failed], ['open', '0'])
      process.stdout.write(`${FLOWS} connections in ${Math.round(performance.now() - startMs)} ms\n`)
      // So often that each is worth a route in the kernel.
      const rounds = String(PLUMB_AFTER_PACKETS)
      const answers = await Promise.all(clients.map(one => one.ask(`all ${rounds}`)))
      for (const answer of answers) assert.equal(answer, ['tried', rounds, '0'])
      process.stdout.write(
        `and ${PLUMB_AFTER_PACKETS} exchanges of each after ${Math.round(performance.now() - startMs)} ms\n`,
      )

      // Now each has a route in the kernel: once more goes by XDP alone.
      const warm = await counters(lab)
      for (const answer of await Promise.all(clients.map(one => one.ask('all 1'))))
        assert.equal(answer, ['tried', '1', '0'])
      const after = await counters(lab)
      assert.is(grown(warm, after, 'xdp_no_route', ['f1']), 0)
      const routed = grown(warm, after, 'xdp_sent_back', ['f1'])
      assert.ok(routed >= FLOWS, `${routed} packets by XDP`)
      const some = String(SAMPLE / PROCESSES)
      for (const one of clients) assert.equal(await one.ask(`try ${some}`), ['tried', some, '0'])

      assert.ok((await used(lab, 'f1', 'flows')) >= FLOWS)
      const mapped = await Promise.all(lab.hosts.map(({ name }) => used(lab, name, 'mappings')))
      assert.ok(mapped.reduce((sum, n) => sum + n) >= FLOWS, mapped.join(' and '))
      assert.ok(Math.min(...mapped) > 0.3 * FLOWS, mapped.join(' and '))
      await Promise.all(clients.map(one => one.end()))
      // The kernel takes its time to close so many; a lab that goes does not wait for it.
      for (const server of servers) {
        server.stdin!.end()
        if (server.exitCode === null) await once(server, 'close')
      }
    },
  ),
)

it.run()
