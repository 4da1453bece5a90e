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

/** Bytes of IP packets of these services, or hosts, by their numbers. */
export const readEdgeBytes = (
  object: LoadedObject,
  map: 'service_traffic' | 'host_traffic',
  numbers: Iterable<number>,
): number => {
  const traffic = object.map(map)
  let total = 0
  for (const number of numbers) total += bytesOf(traffic, number)
  return total
}

const bytesOf = (traffic: BpfMap, number: number): number => {
  const key = new Uint8Array(4)
  viewOf(key).setUint32(0, number, true)
  const value = traffic.lookup(key)
  if (value === null) return 0
  const view = viewOf(value)
  let total = 0
  for (let at = TRAFFIC.bytes; at < value.length; at += TRAFFIC_BYTES)
    total += Number(view.getBigUint64(at, true))
  return total
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
