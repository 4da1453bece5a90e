/** What the programs of edge.bpf.c have counted. */
import type { LoadedObject } from '../../../os/bpf/load.ts'
import type { BpfMap } from '../../../os/bpf/map.ts'
import { COUNTER, COUNTS_BYTES, TRAFFIC, TRAFFIC_BYTES } from './layout/edge.ts'

/** As `shunt status` shows them: `xdp_no_route`. */
const NAMES = Object.entries(COUNTER)
  .filter(([name, number]) => name.startsWith('COUNT_') && number !== COUNTER.COUNT_NONE)
  .map(([name, number]): [string, number] => [`xdp_${name.slice('COUNT_'.length).toLowerCase()}`, number])

const ZERO = new Uint8Array(4)

/** Packets by counter, over all processors. */
export const readEdgeCounters = (object: LoadedObject): Record<string, number> => {
  const value = object.map('counters').lookup(ZERO)
  if (value === null) return {}
  const view = viewOf(value)
  const sum = (number: number): number => {
    let total = 0
    for (let at = number * 8; at < value.length; at += COUNTS_BYTES)
      total += Number(view.getBigUint64(at, true))
    return total
  }
  return Object.fromEntries(NAMES.map(([name, number]) => [name, sum(number)]))
}

/** Of a service, or a host, by its number. */
export interface EdgeTraffic {
  readonly number: number
  readonly packets: number
  /** Of IP packets. */
  readonly bytes: number
}

/** Of these services, or hosts, over all processors. */
export const readEdgeTraffic = (
  object: LoadedObject,
  map: 'service_traffic' | 'host_traffic',
  numbers: Iterable<number>,
): EdgeTraffic[] => {
  const traffic = object.map(map)
  return [...numbers].map(number => trafficOf(traffic, number))
}

export const bytesOf = (traffic: readonly EdgeTraffic[]): number =>
  traffic.reduce((sum, { bytes }) => sum + bytes, 0)

const trafficOf = (traffic: BpfMap, number: number): EdgeTraffic => {
  const key = new Uint8Array(4)
  viewOf(key).setUint32(0, number, true)
  const value = traffic.lookup(key)
  let [packets, bytes] = [0, 0]
  if (value === null) return { number, packets, bytes }
  const view = viewOf(value)
  for (let at = 0; at < value.length; at += TRAFFIC_BYTES) {
    packets += Number(view.getBigUint64(at + TRAFFIC.packets, true))
    bytes += Number(view.getBigUint64(at + TRAFFIC.bytes, true))
  }
  return { number, packets, bytes }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
