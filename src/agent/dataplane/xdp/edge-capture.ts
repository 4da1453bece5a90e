/** `shunt capture` by the program itself (bpf/capture.h): neither a socket nor tcpdump sees what native XDP sends or drops. */
import type { LoadedObject } from '../../../os/bpf/load.ts'
import type { MappedArray } from '../../../os/bpf/mapped.ts'
import { BpfRing } from '../../../os/bpf/ring.ts'
import type { CaptureOrder, CaptureRecord, CaptureSource } from '../capture.ts'
import { CAPTURE_CONFIG, CAPTURED, EDGE_GLOBALS } from './layout/edge.ts'

const NS_PER_MS = 1_000_000

/** Takes a capture off that another agent has left on. */
export const captureOff = (bss: MappedArray): void =>
  bss.view.setUint32(EDGE_GLOBALS.capture.offset + CAPTURE_CONFIG.on, 0, true)

export class EdgeCapture implements CaptureSource {
  readonly fds: readonly number[]
  readonly #view: DataView
  readonly #off: () => void
  readonly #ring: BpfRing
  /** What wall clock and CLOCK_MONOTONIC are apart. */
  readonly #epochUs: number
  readonly #record: CaptureRecord = {
    ...{ timeUs: 0, link: 0, length: 0, head: new Uint8Array(0), verdict: 0, reason: 0 },
  }

  constructor(object: LoadedObject, bss: MappedArray, order: CaptureOrder) {
    this.#view = bss.view
    this.#off = () => captureOff(bss)
    this.#off()
    this.#ring = new BpfRing(object.map('captures'))
    this.fds = [this.#ring.fd]
    // Of a capture before: its last packets may have come after its end.
    while (this.#ring.receive(1024, () => {}) > 0);
    const monotonicNs = process.hrtime.bigint()
    this.#epochUs = Date.now() * 1000 - Number(monotonicNs / 1000n)
    this.#begin(order, monotonicNs)
  }

  #begin(order: CaptureOrder, nowNs: bigint): void {
    const at = EDGE_GLOBALS.capture.offset
    const view = this.#view
    for (const [place, words] of [
      [CAPTURE_CONFIG.vipW, order.vip],
      [CAPTURE_CONFIG.clientW, order.client],
      [CAPTURE_CONFIG.maskW, order.mask],
    ] as const)
      for (let i = 0; i < 4; i++) view.setUint32(at + place + 4 * i, words[i]!)
    view.setUint16(at + CAPTURE_CONFIG.port, order.port)
    view.setUint32(at + CAPTURE_CONFIG.snap, order.snaplen, true)
    const untilNs = nowNs + BigInt(order.seconds * 1000) * BigInt(NS_PER_MS)
    view.setBigUint64(at + CAPTURE_CONFIG.untilNs, untilNs, true)
    view.setBigInt64(at + CAPTURE_CONFIG.left, BigInt(order.count), true)
    view.setBigUint64(at + CAPTURE_CONFIG.lost, 0n, true)
    view.setUint32(at + CAPTURE_CONFIG.on, 1, true)
  }

  read(max: number, deliver: (record: CaptureRecord) => void): number {
    const record = this.#record
    return this.#ring.receive(max, (view, offset) => {
      record.timeUs = this.#epochUs + Number(view.getBigUint64(offset + CAPTURED.atNs, true) / 1000n)
      record.link = view.getUint32(offset + CAPTURED.link, true)
      record.length = view.getUint32(offset + CAPTURED.length, true)
      record.verdict = view.getUint32(offset + CAPTURED.verdict, true)
      record.reason = view.getUint16(offset + CAPTURED.reason, true)
      const bytes = view.getUint16(offset + CAPTURED.bytes, true)
      record.head = new Uint8Array(view.buffer, view.byteOffset + offset + CAPTURED.head, bytes)
      deliver(record)
    })
  }

  lost(): number {
    return Number(this.#view.getBigUint64(EDGE_GLOBALS.capture.offset + CAPTURE_CONFIG.lost, true))
  }

  close(): void {
    this.#off()
    this.#ring.close()
  }
}
