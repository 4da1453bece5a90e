/** edge.bpf.c as a host: two forwarders' tunnels of each family, the services of dataplane-world.ts, and no mappings yet. */
import {
  COUNTER,
  COUNTS_BYTES,
  EDGE_CONFIG,
  EDGE_GLOBALS,
  EDGE_LAYOUT,
  STACK_MARK,
  TRAFFIC_BYTES,
} from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { mappingMapSize } from '../../src/agent/dataplane/xdp/mapping-layout.ts'
import { formatMappingMemory } from '../../src/agent/dataplane/xdp/mapping-memory.ts'
import { KernelMappings } from '../../src/agent/dataplane/xdp/mapping-table.ts'
import { TargetTable } from '../../src/agent/dataplane/xdp/target-table.ts'
import { type TunnelEnds, TunnelTable } from '../../src/agent/dataplane/xdp/tunnel-table.ts'
import { bpfObject } from '../../src/assets.ts'
import { type LoadedObject, loadObject } from '../../src/os/bpf/load.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { decodeObject } from '../../src/os/bpf/object-file.ts'
import type { TestResult } from '../../src/os/bpf/program.ts'
import { index } from './bpf.ts'
import { FAMILIES, type Family, SERVICES, TUNNEL } from './dataplane-world.ts'
import { OTHER_TUNNEL, OWN } from './host-cases.ts'
import { addressWords } from './packets.ts'
import { testSecret } from './routes.ts'

/** Index and generation of the tunnels. */
export const TUNNELS = { first: { index: 1, generation: 3 }, other: { index: 255, generation: 0 } } as const

export const ROLE = { forwarder: 1, host: 2 } as const

const ends = (tunnel: string, own: string): TunnelEnds => ({
  tunnel: addressWords(tunnel),
  own: addressWords(own),
})

const NAMES = Object.entries(COUNTER)
  .filter(([name]) => name.startsWith('COUNT_'))
  .map(([name, number]): [string, number] => [name.slice('COUNT_'.length), number])

export class XdpHostLab {
  readonly object: LoadedObject
  readonly mappings: Readonly<Record<Family, KernelMappings>>
  readonly tunnels: TunnelTable
  readonly targets: TargetTable
  readonly #bss: MappedArray
  readonly #mapped: readonly MappedArray[]

  /** @param mappings of each family; `sizes`: of further maps, in entries */
  constructor(mappings = 1000, sizes: Readonly<Record<string, number>> = {}) {
    const secret = testSecret(6)
    const bytes = new Uint8Array(secret.buffer)
    const [four, six] = FAMILIES.map(family => mappingMapSize(family, mappings))
    this.object = loadObject(decodeObject(bpfObject('edge')), {
      layout: EDGE_LAYOUT,
      set: [
        [EDGE_GLOBALS.mappings4Buckets, four.buckets],
        [EDGE_GLOBALS.mappings6Buckets, six.buckets],
        [EDGE_GLOBALS.mappings4Secret, bytes],
        [EDGE_GLOBALS.mappings6Secret, bytes],
      ],
      maxEntries: {
        mappings4: four.entries,
        mappings6: six.entries,
        targets: 65_535,
        learnt: 4096,
        ...sizes,
      },
    })
    const map = (name: string): MappedArray => new MappedArray(this.object.map(name))
    const [mappings4, mappings6, tunnels, targets, bss] = [
      'mappings4',
      'mappings6',
      'tunnels',
      'targets',
      'bss',
    ].map(map)
    this.#mapped = [mappings4, mappings6, tunnels, targets, bss]
    this.#bss = bss
    this.mappings = {
      4: new KernelMappings(formatMappingMemory(mappings4.bytes, 4, four.buckets, secret)),
      6: new KernelMappings(formatMappingMemory(mappings6.bytes, 6, six.buckets, secret)),
    }
    this.tunnels = new TunnelTable(tunnels.bytes)
    this.targets = new TargetTable(targets.bytes)
    for (const family of FAMILIES) {
      const { first, other } = TUNNELS
      this.tunnels.set(ends(TUNNEL[family], OWN[family]), first.index, first.generation)
      this.tunnels.set(ends(OTHER_TUNNEL[family], OWN[family]), other.index, other.generation)
    }
    for (const { vip, port, protocol, number } of SERVICES)
      this.targets.set(number, Object.values(vip).map(addressWords), port, protocol)
    this.roles(ROLE.host)
  }

  roles(roles: number): void {
    this.#bss.view.setUint32(EDGE_GLOBALS.config.offset + EDGE_CONFIG.roles, roles, true)
  }

  /** The source address of frames that are restored; null: as they came. */
  stackMark(source: Uint8Array | null): void {
    const at = EDGE_GLOBALS.stackMark.offset
    if (source !== null) this.#bss.bytes.set(source, at + STACK_MARK.source)
    this.#bss.view.setUint16(at + STACK_MARK.on, source === null ? 0 : 1, true)
  }

  run(frame: Uint8Array, program = 'edge_cluster'): TestResult {
    return this.object
      .program(program)
      .testRun({ data: frame, room: frame.length + 64, ingress: { interfaceIndex: 1 } })
  }

  /** By counter, without COUNT_; only those that counted. */
  counted(): Record<string, number> {
    const value = this.object.map('counters').lookup(index(0))!
    const view = new DataView(value.buffer)
    const sum = (number: number): number => {
      let total = 0
      for (let at = number * 8; at < value.length; at += COUNTS_BYTES)
        total += Number(view.getBigUint64(at, true))
      return total
    }
    return Object.fromEntries(
      NAMES.map(([name, number]): [string, number] => [name, sum(number)]).filter(([, count]) => count > 0),
    )
  }

  resetCounters(): void {
    const counters = this.object.map('counters')
    counters.update(index(0), new Uint8Array(counters.valueBytes))
  }

  /** Packets and bytes of a service, over all processors. */
  traffic(service: number): { packets: number; bytes: number } {
    const value = this.object.map('service_traffic').lookup(index(service))!
    const view = new DataView(value.buffer)
    let [packets, bytes] = [0, 0]
    for (let at = 0; at < value.length; at += TRAFFIC_BYTES) {
      packets += Number(view.getBigUint64(at, true))
      bytes += Number(view.getBigUint64(at + 8, true))
    }
    return { packets, bytes }
  }

  close(): void {
    for (const mapped of this.#mapped) mapped.release()
    this.object.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
