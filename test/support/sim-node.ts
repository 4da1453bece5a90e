/**
 * One node of a simulated cluster: the real engine (forwarder, classifier, host cores, datagram codec, plumber)
 * over a virtual kernel and a virtual network, in virtual time.
 */
import { Datagrams } from '../../src/agent/dataplane/datagrams.ts'
import type { Directory } from '../../src/agent/dataplane/directory.ts'
import { DropCounters } from '../../src/agent/dataplane/drops.ts'
import { Engine } from '../../src/agent/dataplane/engine.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { type ElementWriter, NftPlumber } from '../../src/agent/dataplane/nft/plumber.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { rewriteTuple } from '../../src/agent/dataplane/rewrite.ts'
import { PacketOutput } from '../../src/agent/dataplane/slow-path.ts'
import type { RawSender } from '../../src/os/raw-socket.ts'
import type { Tun } from '../../src/os/tun.ts'
import type { UdpBatchSocket } from '../../src/os/udp-socket.ts'

export interface SimOut {
  /** An IP packet leaves for `destination` (host order). */
  packet(from: number, destination: number, bytes: Uint8Array): void
  datagram(from: number, destination: number, bytes: Uint8Array): void
  /** A packet reached the own stack. */
  delivered(node: string, bytes: Uint8Array): void
}

interface Element {
  readonly data: Uint8Array | undefined
  readonly untilMs: number
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const FLAGS_SLOW = 7
const FORWARDER_SETS = ['route', 'fixed', 'fixed_hi', 'fixed_lo', 'local']
const HOST_SETS = ['dec', 'dec_fixed', 'ports', 'ports_hi', 'ports_lo', 'client', 'vip_of']

/** The kernel's sets with their time-outs, and the rules of ruleset.ts that use them. */
export class SimKernel implements ElementWriter {
  readonly sets = new Map<string, Map<string, Element>>()
  nowMs = 0
  forwarded = 0
  restored = 0
  #pending: (() => boolean)[] = []

  add(change: { set: string; key: Uint8Array; data?: Uint8Array; timeoutMs?: number }): void {
    this.#pending.push(() => {
      const set = this.sets.get(change.set) ?? new Map<string, Element>()
      this.sets.set(change.set, set)
      const there = this.find(change.set, change.key)
      if (
        there !== undefined &&
        hex(there.data ?? new Uint8Array(0)) !== hex(change.data ?? new Uint8Array(0))
      )
        return false
      set.set(hex(change.key), {
        data: change.data,
        untilMs: this.nowMs + (change.timeoutMs ?? Number.POSITIVE_INFINITY),
      })
      return true
    })
  }

  delete(change: { set: string; key: Uint8Array }): void {
    this.#pending.push(() => this.sets.get(change.set)?.delete(hex(change.key)) ?? false)
  }

  commit(): ReturnType<ElementWriter['commit']> {
    const changes = this.#pending
    this.#pending = []
    let ok = true
    for (const change of changes) ok = change() && ok
    return ok ? { ok: true } : { ok: false, errno: 17, symbol: 'EEXIST', text: '' }
  }

  find(set: string, key: Uint8Array): Element | undefined {
    const element = this.sets.get(set)?.get(hex(key))
    return element !== undefined && element.untilMs > this.nowMs ? element : undefined
  }
}

export class SimNode {
  readonly name: string
  readonly address: number
  readonly kernel = new SimKernel()
  readonly drops = new DropCounters()
  readonly engine: Engine
  readonly datagrams: Datagrams
  readonly #output: PacketOutput
  readonly #plumber: NftPlumber
  readonly #out: SimOut
  #tunnel: Uint32Array
  #directory: Directory
  #nowS = 0

  constructor(name: string, plan: DataplanePlan, out: SimOut) {
    this.name = name
    this.address = plan.clusterIpv4
    this.#out = out
    this.#directory = plan.directory
    this.#tunnel = plan.forwarder?.tunnelWords ?? new Uint32Array(4)
    const socket = {
      queue: (
        header: Uint8Array,
        length: number,
        payload: Uint8Array | null,
        offset: number,
        bytes: number,
        to: number,
      ) => {
        const datagram = new Uint8Array(length + bytes)
        datagram.set(header.subarray(0, length))
        if (payload !== null) datagram.set(payload.subarray(offset, offset + bytes), length)
        out.datagram(this.address, to, datagram)
      },
      flush: () => 0,
    } as unknown as UdpBatchSocket
    const raw = {
      queue: (buf: Uint8Array, offset: number, length: number, to: number) =>
        out.packet(this.address, to, buf.slice(offset, offset + length)),
      flush: () => 0,
    } as unknown as RawSender
    const tun = {
      write: (_vnet: unknown, buf: Uint8Array, offset: number, length: number) => {
        out.delivered(name, buf.slice(offset, offset + length))
        return true
      },
    } as unknown as Tun
    this.#output = new PacketOutput(raw, tun, this.drops)
    this.datagrams = new Datagrams(
      socket,
      plan.mappingPort,
      plan.keys,
      plan.forwarder?.tunnelIpv4 ?? 0,
      plan.clusterIpv4,
      this.drops,
    )
    this.#plumber = new NftPlumber(
      this.kernel,
      plan.table,
      {
        route: slot => this.engine.forwarder?.plumbFailed(slot),
        mapping: slot => this.engine.host?.commitFailed(slot),
      },
      tunnel => this.engine.directory.forwarderAt(tunnel)?.tunnelWords6,
    )
    this.engine = new Engine({
      plan,
      output: this.#output,
      datagrams: this.datagrams,
      plumber: this.#plumber,
      drops: this.drops,
      nowS: () => this.#nowS,
      epochChanged: () => {},
    })
  }

  /** What KernelSetup and worker do: the kernel's rules first (a part that goes takes its sets along), then the engine. */
  reconfigure(plan: DataplanePlan, nowMs: number): void {
    this.clock(nowMs)
    this.#directory = plan.directory
    this.#tunnel = plan.forwarder?.tunnelWords ?? this.#tunnel
    if (plan.forwarder === null) for (const set of FORWARDER_SETS) this.kernel.sets.delete(set)
    if (plan.host === null) for (const set of HOST_SETS) this.kernel.sets.delete(set)
    this.#plumber.flush()
    this.engine.reconfigure(plan, nowMs)
    this.#plumber.flush()
  }

  clock(nowMs: number): void {
    this.kernel.nowMs = nowMs
    this.#nowS = Math.floor(1_000_000 + nowMs / 1000)
    this.engine.turn(nowMs)
  }

  tick(nowMs: number): void {
    this.clock(nowMs)
    this.engine.tick(nowMs)
    this.#plumber.flush()
  }

  /** A packet arrives at this node's interface: the kernel's rules first, then the slow path. */
  arrive(bytes: Uint8Array, nowMs: number): void {
    this.clock(nowMs)
    const buf = new Uint8Array(bytes.length + 10)
    buf.set(bytes, 10)
    const view = createPacketView()
    if (
      parsePacket(buf, 10, bytes.length, view) === 0 &&
      (view.tcpFlags & FLAGS_SLOW) === 0 &&
      this.#fast(buf, view)
    )
      return
    this.engine.ringPacket(buf, 10, bytes.length, 0)
    this.#plumber.flush()
  }

  /** What the rules of ruleset.ts do with a packet of checksum-neutral identifiers. */
  #fast(buf: Uint8Array, view: ReturnType<typeof createPacketView>): boolean {
    const source = buf.subarray(22, 26)
    const destination = buf.subarray(26, 30)
    const ports = buf.subarray(view.l4, view.l4 + 4)
    const flow = new Uint8Array(20)
    flow.set(source, 0)
    flow.set(ports.subarray(0, 2), 4)
    flow.set(destination, 8)
    flow.set(ports.subarray(2, 4), 12)
    flow[16] = view.protocol
    const route = this.kernel.find('route', flow)
    if (route?.data !== undefined) {
      const identifier = new DataView(route.data.buffer, route.data.byteOffset).getUint32(0)
      const host = this.#directory.hosts.find(h => h.index === identifier >>> 24)
      // half_restored of ruleset.ts
      if (host === undefined) return true
      rewriteTuple(buf, 10, view, this.#tunnel, 0, host.words, 0, identifier, false)
      this.kernel.forwarded++
      this.#out.packet(this.address, host.ipv4, buf.slice(10, view.end))
      return true
    }
    const dec = new Uint8Array(12)
    dec[8] = view.protocol
    dec.set(source, 0)
    dec.set(ports, 4)
    const mark = this.kernel.find('dec', dec)?.data
    if (mark === undefined) return false
    const client = this.kernel.find('client', mark)?.data
    const vip = this.kernel.find('vip_of', mark)?.data
    const original = this.kernel.find('ports', mark)?.data
    if (client === undefined || vip === undefined || original === undefined)
      throw new Error('a packet would be half restored')
    const words = (address: Uint8Array): Uint32Array =>
      Uint32Array.of(0, 0, 0xffff, new DataView(address.buffer, address.byteOffset).getUint32(0))
    rewriteTuple(
      buf,
      10,
      view,
      words(client),
      0,
      words(vip),
      0,
      new DataView(original.buffer, original.byteOffset).getUint32(0),
      false,
    )
    this.kernel.restored++
    this.#out.delivered(this.name, buf.slice(10, view.end))
    return true
  }
}
