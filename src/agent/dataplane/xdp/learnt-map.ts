/** What the kernel has learnt by itself and the agent has not moved yet: the map `learnt` of bpf/learn.h, and records of the ring. */
import type { BpfMap } from '../../../os/bpf/map.ts'
import {
  CONTROL_EVENT,
  CONTROL_EVENT_BYTES,
  LEARNT,
  LEARNT_BYTES,
  LEARNT_KEY,
  LEARNT_KEY_BYTES,
} from './layout/edge.ts'

/** One learnt mapping; reused. */
export interface Learnt {
  identifier: number
  /** Index of the tunnel, 1..255. */
  tunnel: number
  generation: number
  /** Four words. */
  readonly client: Uint32Array
  port: number
  /** Number of the service. */
  service: number
  epoch: number
  sequence: number
  protocol: number
  /** Host index of the message. */
  host: number
  /** A packet has followed it. */
  tunnelled: boolean
  /** Of the packet that it came with. */
  tcpFlags: number
}

export const createLearnt = (): Learnt => ({
  ...{ identifier: 0, tunnel: 0, generation: 0, client: new Uint32Array(4), port: 0, service: 0 },
  ...{ epoch: 0, sequence: 0, protocol: 0, host: 0, tunnelled: false, tcpFlags: 0 },
})

/** A struct learnt_key. */
const readKey = (view: DataView, at: number, out: Learnt): void => {
  out.identifier = view.getUint32(at + LEARNT_KEY.identifier)
  out.tunnel = view.getUint8(at + LEARNT_KEY.tunnel)
  out.generation = view.getUint8(at + LEARNT_KEY.generation)
}

/** A struct learnt. */
const readMapping = (view: DataView, at: number, out: Learnt): void => {
  for (let i = 0; i < 4; i++) out.client[i] = view.getUint32(at + LEARNT.client + 4 * i)
  out.port = view.getUint16(at + LEARNT.port)
  out.service = view.getUint16(at + LEARNT.service, true)
  out.epoch = view.getUint32(at + LEARNT.epoch, true)
  out.sequence = view.getUint32(at + LEARNT.sequence, true)
  out.protocol = view.getUint8(at + LEARNT.protocol)
  out.host = view.getUint8(at + LEARNT.host)
  out.tunnelled = view.getUint8(at + LEARNT.tunnelled) !== 0
  out.tcpFlags = view.getUint8(at + LEARNT.tcpFlags)
}

/** A record of the ring: a learnt mapping, or the end of a mapped flow, whose tunnel, generation and identifier alone are set. */
export const readMappingEvent = (
  view: DataView,
  at: number,
  length: number,
  out: Learnt,
): 'learnt' | 'closes' => {
  if (length === CONTROL_EVENT_BYTES) {
    out.identifier = view.getUint32(at + CONTROL_EVENT.identifier)
    out.tunnel = view.getUint8(at + CONTROL_EVENT.tunnel)
    out.generation = view.getUint8(at + CONTROL_EVENT.generation)
    return 'closes'
  }
  readKey(view, at, out)
  readMapping(view, at + LEARNT_KEY_BYTES, out)
  return 'learnt'
}

export class LearntMap {
  readonly #map: BpfMap
  readonly #key = new Uint8Array(LEARNT_KEY_BYTES)
  readonly #keyView = new DataView(this.#key.buffer)

  constructor(map: BpfMap) {
    this.#map = map
  }

  /** False: it was not there. */
  delete(tunnel: number, generation: number, identifier: number): boolean {
    this.#setKey(tunnel, generation, identifier)
    return this.#map.delete(this.#key)
  }

  get(tunnel: number, generation: number, identifier: number): Learnt | null {
    this.#setKey(tunnel, generation, identifier)
    const value = this.#map.lookup(this.#key)
    if (value === null) return null
    const learnt = createLearnt()
    readKey(this.#keyView, 0, learnt)
    readMapping(new DataView(value.buffer, value.byteOffset), 0, learnt)
    return learnt
  }

  #setKey(tunnel: number, generation: number, identifier: number): void {
    this.#keyView.setUint32(LEARNT_KEY.identifier, identifier)
    this.#keyView.setUint8(LEARNT_KEY.tunnel, tunnel)
    this.#keyView.setUint8(LEARNT_KEY.generation, generation)
  }

  /** At least `most` of those that are there, if there are so many. */
  some(most: number): Learnt[] {
    const found: Learnt[] = []
    for (const { count, keys, values } of this.#map.batches(most)) {
      const keyView = new DataView(keys.buffer, keys.byteOffset)
      const valueView = new DataView(values.buffer, values.byteOffset)
      for (let i = 0; i < count; i++) {
        const learnt = createLearnt()
        readKey(keyView, i * LEARNT_KEY_BYTES, learnt)
        readMapping(valueView, i * LEARNT_BYTES, learnt)
        found.push(learnt)
      }
      if (found.length >= most) break
    }
    return found
  }
}
