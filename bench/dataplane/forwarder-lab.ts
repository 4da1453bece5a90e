/** The forwarder, or its yardstick, with as many routes as one wants and packets of all their flows. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Compiled, compileBpf } from '../../scripts/bpf/compile.ts'
import { EDGE_CONFIG } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { ShuntError } from '../../src/errors.ts'
import type { GlobalPlace } from '../../src/os/bpf/globals.ts'
import type { BpfMap } from '../../src/os/bpf/map.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { decodeObject } from '../../src/os/bpf/object-file.ts'
import { XDP } from '../../src/os/bpf/program.ts'
import { buildPacket, identifierOf, TCP } from '../../test/support/dataplane-case.ts'
import { FAMILIES, type Family, HOSTS } from '../../test/support/dataplane-world.ts'
import { buildFrame } from '../../test/support/ethernet.ts'
import { XdpLab } from '../../test/support/xdp-lab.ts'

/** As in forwarder.bpf.c. */
const HEAD_BYTES = 78
const BATCH = 4096
const USED = 1n << 63n
const MAPPED = 1n << 58n
const HOP_LIFE_NS = 100_000_000

export type Part = 'base' | 'parse' | 'service' | 'route' | 'known' | 'hooked' | 'whole'

export const compileForwarder = (name: 'forwarder' | 'yardstick', work: string): Compiled =>
  compileBpf(
    join(import.meta.dirname, `${name}.bpf.c`),
    join(import.meta.dirname, '../../src/agent/dataplane/xdp/bpf'),
    join(work, name),
  )

const place = ({ layout }: Compiled, name: string): GlobalPlace => {
  const found = layout.globals.find(global => global.name === name)
  if (found === undefined) throw new ShuntError('SHUNT_ERR_INTERNAL', `no global ${name}`)
  return found
}

const frameOf = (family: Family): Uint8Array =>
  buildFrame(
    buildPacket(family, TCP, {
      ...{ source: family === 4 ? '0.0.0.0' : '2001:db8::', sourcePort: 0 },
      payload: new Uint8Array(26),
    }),
  )

/** Of flow `n`, as the kernel's programs read it: client's address and port. */
const flowBytes = (family: Family, n: number): Uint8Array => {
  const bytes = new Uint8Array(family === 4 ? 8 : 24)
  const view = new DataView(bytes.buffer)
  if (family === 4) view.setUint32(0, 0x0a000000 + (n >>> 14))
  else {
    view.setUint32(8, 0x20010db8)
    view.setUint32(20, n >>> 14)
  }
  const port = family === 4 ? 4 : 0
  view.setUint16(port, 1024 + (n & 0x3fff))
  view.setUint16(port + 2, 1, true)
  return bytes
}

/** As the kernel accounts for it. */
const memoryOf = ({ fd }: BpfMap): number =>
  Number(/^memlock:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1])

const identifierOfFlow = (n: number): number => identifierOf(HOSTS.sentBack.index, n + 1)

const fillYard = (map: BpfMap, family: Family, flows: number): void => {
  for (let from = 0; from < flows; from += BATCH) {
    const count = Math.min(BATCH, flows - from)
    const keys = new Uint8Array(count * map.info.keyBytes)
    const values = new Uint8Array(count * map.valueBytes)
    const view = new DataView(values.buffer)
    for (let i = 0; i < count; i++) {
      keys.set(flowBytes(family, from + i), i * map.info.keyBytes)
      const state = BigInt(ROUTE_STATE.ESTABLISHED) << 59n
      const value = USED | state | MAPPED | BigInt(identifierOfFlow(from + i))
      view.setBigUint64(i * map.valueBytes + 8, value, true)
    }
    map.updateBatch(keys, values, count)
  }
}

const fillTable = (lab: XdpLab, family: Family, flows: number): void => {
  const content = { mapped: true, state: ROUTE_STATE.ESTABLISHED, generation: 0, pinned: false }
  const words = new Uint32Array(4)
  const table = lab.tables[family]
  const key = table.newKey()
  for (let n = 0; n < flows; n++) {
    if (family === 4) words.set([0, 0, 0xffff, 0x0a000000 + (n >>> 14)])
    else words.set([0x20010db8, 0, 0, n >>> 14])
    table.insert(
      key.set(words, 0, 1024 + (n & 0x3fff), 1),
      { ...content, identifier: identifierOfFlow(n) },
      0,
    )
  }
}

export class ForwarderLab {
  readonly #lab: XdpLab
  /** Bytes of memory for the routes of a family. */
  readonly memory: Readonly<Record<Family, number>>

  private constructor(lab: XdpLab, memory: Readonly<Record<Family, number>>) {
    this.#lab = lab
    this.memory = memory
  }

  static async open(
    compiled: Compiled,
    name: 'forwarder' | 'yardstick',
    flows: number,
  ): Promise<ForwarderLab> {
    const yard = name === 'yardstick'
    const lab = await XdpLab.open(yard ? 8 : flows, () => ({
      file: decodeObject(compiled.file),
      globals: {
        config: place(compiled, 'config'),
        tickShift: place(compiled, 'tick_shift'),
        routes4Buckets: place(compiled, 'routes4_buckets'),
        routes6Buckets: place(compiled, 'routes6_buckets'),
        routes4Secret: place(compiled, 'routes4_secret'),
        routes6Secret: place(compiled, 'routes6_secret'),
      },
      set: [[place(compiled, 'flows'), flows]],
      ...(yard && { maxEntries: { yard4: flows, yard6: flows } }),
    }))
    for (const family of FAMILIES)
      if (yard) fillYard(lab.object.map(`yard${family}`), family, flows)
      else fillTable(lab, family, flows)
    const heads = place(compiled, 'bench').offset + 8
    const bss = new MappedArray(lab.object.map('bss'))
    for (const [i, family] of FAMILIES.entries())
      bss.bytes.set(frameOf(family).subarray(0, HEAD_BYTES), heads + i * (HEAD_BYTES + 2))
    bss.release()
    const bytes = (family: Family): number => memoryOf(lab.object.map(`${yard ? 'yard' : 'routes'}${family}`))
    return new ForwarderLab(lab, { 4: bytes(4), 6: bytes(6) })
  }

  /** Mean nanoseconds of one run. */
  run(part: Part, family: Family, repeat: number): number {
    const lab = this.#lab
    // The whole of it looks the next hop up each time; otherwise it is known.
    lab.configure(EDGE_CONFIG.hopLifeNs, part === 'whole' ? 0 : HOP_LIFE_NS)
    const program = lab.object.program(`${part === 'known' ? 'whole' : part}_${family}`)
    const { verdict, durationNs } = lab.netns.run(() =>
      program.testRun({ data: frameOf(family), repeat, ingress: { interfaceIndex: lab.ingress } }),
    )
    if (verdict !== (['base', 'known', 'hooked', 'whole'].includes(part) ? XDP.tx : XDP.pass))
      throw new ShuntError(
        'SHUNT_ERR_INTERNAL',
        `${part}: verdict ${verdict}, ${JSON.stringify(lab.counted())}`,
      )
    return durationNs
  }

  close(): void {
    this.#lab.close()
  }
}
