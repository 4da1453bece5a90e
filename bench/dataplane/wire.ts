/** Row b of `make bench-dataplane`: packets through veth on one processor, by us and by what is used in our place. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileBpf } from '../../scripts/bpf/compile.ts'
import { table } from '../../src/cli/table.ts'
import { ShuntError } from '../../src/errors.ts'
import { mustRun } from '../../src/lab/run.ts'
import { attachXdp, type BpfLink } from '../../src/os/bpf/link.ts'
import { type LoadedObject, loadObject } from '../../src/os/bpf/load.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { decodeObject } from '../../src/os/bpf/object-file.ts'
import { threadCpuNs } from '../../src/os/clock.ts'
import { link } from '../../src/os/netlink/route.ts'
import { applyRuleset } from '../../src/os/nft.ts'
import { buildPacket, UDP } from '../../test/support/dataplane-case.ts'
import { buildFrame, mac } from '../../test/support/ethernet.ts'
import { removeNetns } from '../../test/support/netns.ts'
import { LINKS } from '../../test/support/xdp-lab.ts'
import { BALANCER_CPU, SoftirqThread } from '../lib/cpu.ts'
import { runLive } from '../lib/live-frames.ts'
import { quantile, short } from '../lib/stats.ts'
import { type Contestant, openContestants } from './contestants.ts'

/** Whatever else runs on the machine only adds. */
const LOW = 0.1
/** As in wire.bpf.c. */
const HEAD_BYTES = 42
const SOURCE = 'the source alone'

export interface WireOptions {
  readonly flows: number
  readonly rounds: number
  /** Packets of one turn. */
  readonly packets: number
}
export interface WireRow {
  readonly name: string
  /** Processor time of a packet (ns), source and sink with it, by rounds. */
  readonly ns: readonly number[]
  /** The same by the clock. */
  readonly wallNs: readonly number[]
  /** Share of packets that came out. */
  readonly arrived: number
}

interface Turn {
  ns: number
  wallNs: number
  arrived: number
}

class Source {
  readonly #object: LoadedObject
  readonly #state: MappedArray
  readonly #at: number
  readonly #frame = buildFrame(
    buildPacket(4, UDP, { source: '10.0.0.0', sourcePort: 0, payload: new Uint8Array(18), noChecksum: true }),
    {
      destination: mac(LINKS.uplink.mac),
    },
  )
  readonly #links: BpfLink[] = []
  readonly #softirqs = new SoftirqThread(BALANCER_CPU)

  constructor(work: string, flows: number) {
    const include = join(import.meta.dirname, '../../src/agent/dataplane/xdp/bpf')
    const { file, layout } = compileBpf(join(import.meta.dirname, 'wire.bpf.c'), include, work)
    const object = decodeObject(file)
    this.#object = loadObject(object, { layout: object.layout })
    this.#state = new MappedArray(this.#object.map('bss'))
    this.#at = layout.globals.find(({ name }) => name === 'wire')?.offset ?? 0
    this.#state.view.setUint32(this.#at + 16, flows, true)
    this.#state.bytes.set(this.#frame.subarray(0, HEAD_BYTES), this.#at + 24)
  }

  /** Drops all that comes, as soon as it can be dropped: frames by XDP, packets by a rule. */
  async sinkAt(netns: Contestant['netns'], name: string, kind: Contestant['leaves']): Promise<void> {
    if (kind === 'frames')
      netns.run(() =>
        this.#links.push(attachXdp(this.#object.program('sink'), link(name).index, 'native').link),
      )
    else
      await netns.run(() =>
        applyRuleset(
          `table netdev sink { chain in { type filter hook ingress device "${name}" priority 0; counter drop\n}\n}`,
        ),
      )
  }

  /**
   * Puts the source on an interface that nothing comes by. The kernel patches in a direct call of a program for each run of it, and takes
   * it out again: twice a wait for all processors (synchronize_rcu, 20 ms on an idle machine), unless an interface has the program already.
   */
  keepReady(netns: Contestant['netns'], name: string): void {
    netns.run(() =>
      this.#links.push(attachXdp(this.#object.program('source'), link(name).index, 'generic').link),
    )
  }

  /** Sends by an interface's far end: a packet's processor time and time by the clock (ns), and how many came to the sink. */
  send(netns: Contestant['netns'], by: string, packets: number): Turn {
    return netns.run(() => {
      const index = link(by).index
      this.#state.view.setUint32(this.#at + 20, index, true)
      const before = received()
      const cpuNs = (): number => threadCpuNs() + this.#softirqs.ranNs
      const start = { cpuNs: cpuNs(), wallMs: performance.now() }
      runLive(this.#object.program('source'), this.#frame, packets, index)
      const wallNs = (performance.now() - start.wallMs) * 1e6
      return {
        ns: (cpuNs() - start.cpuNs) / packets,
        wallNs: wallNs / packets,
        arrived: (received() - before) / packets,
      }
    })
  }

  close(): void {
    for (const one of this.#links) one.close()
    this.#state.release()
    this.#object.close()
  }
}

/** At the sink's interface, inside of the namespace. */
const received = (): number => {
  const line = readFileSync('/proc/thread-self/net/dev', 'latin1')
    .split('\n')
    .find(text => text.trim().startsWith(`${LINKS.cluster.name}p:`))
  return Number(line?.split(':')[1].trim().split(/\s+/)[1])
}

export const measureWire = async ({ flows, rounds, packets }: WireOptions): Promise<WireRow[]> => {
  await mustRun(['taskset', '-cp', String(BALANCER_CPU), String(process.pid)])
  const work = mkdtempSync(join(tmpdir(), 'shunt-bench-'))
  const contestants = await openContestants(flows).catch(async (error: unknown) => {
    await removeNetns()
    throw error
  })
  const source = new Source(work, flows)
  try {
    for (const { netns, leaves } of contestants) await source.sinkAt(netns, `${LINKS.cluster.name}p`, leaves)
    source.keepReady(contestants[0].netns, LINKS.elsewhere.name)
    // The same cable without a balancer: what is sent by the near end comes to the sink.
    const all = [
      { name: SOURCE, netns: contestants[0].netns, by: LINKS.cluster.name },
      ...contestants.map(({ name, netns }) => ({ name, netns, by: `${LINKS.uplink.name}p` })),
    ]
    const rows = new Map(
      all.map(({ name }) => [name, { ns: [] as number[], wallNs: [] as number[], arrived: 1 }]),
    )
    for (let round = 0; round <= rounds; round++)
      for (const { name, netns, by } of all) {
        const { ns, wallNs, arrived } = source.send(netns, by, packets)
        const row = rows.get(name)
        if (row === undefined || round === 0) continue
        row.ns.push(ns)
        row.wallNs.push(wallNs)
        row.arrived = Math.min(row.arrived, arrived)
      }
    const result = [...rows].map(([name, row]) => ({ name, ...row }))
    const lost = result.find(({ arrived }) => arrived < 0.5)
    if (lost !== undefined)
      throw new ShuntError('SHUNT_ERR_LAB', `${lost.name}: ${short(100 * lost.arrived)} % arrived`)
    return result
  } finally {
    source.close()
    for (const { close } of contestants) close()
    await removeNetns()
    rmSync(work, { recursive: true })
  }
}

export const wireReport = (rows: readonly WireRow[]): string => {
  const low = (row: WireRow): number => quantile(row.ns, LOW)
  const net = (row: WireRow): number => low(row) - low(rows[0])
  const [, ours] = rows
  return `b. One packet through veth on one processor (UDP, 10,000 flows)\n${table(
    [
      { head: 'by', cell: ({ name }) => name },
      { head: 'CPU ns low', right: true, cell: row => low(row).toFixed(0) },
      { head: 'p50', right: true, cell: row => quantile(row.ns, 0.5).toFixed(0) },
      { head: 'by the clock', right: true, cell: row => quantile(row.wallNs, LOW).toFixed(0) },
      { head: 'Mpps', right: true, cell: row => short(1000 / low(row)) },
      { head: 'ns net', right: true, cell: row => (row === rows[0] ? null : net(row).toFixed(0)) },
      {
        head: 'x shunt, XDP',
        right: true,
        cell: row => (row === rows[0] ? null : short(net(row) / net(ours))),
      },
      { head: 'arrived %', right: true, cell: ({ arrived }) => short(100 * arrived) },
    ],
    rows,
  )}`
}
