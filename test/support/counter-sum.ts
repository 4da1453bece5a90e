/** How often the data plane's programs counted, over all reasons and processors: cheap enough to ask after every packet. */
import type { LoadedObject } from '../../src/os/bpf/load.ts'
import { index } from './bpf.ts'

export const counterSum = (object: LoadedObject): (() => number) => {
  const map = object.map('counters')
  const key = index(0)
  return () => {
    const value = map.lookup(key)
    if (value === null) throw new Error('no counters')
    // The low half of each, which tells differences.
    const words = new Uint32Array(value.buffer, value.byteOffset, value.length / 4)
    let sum = 0
    for (let at = 0; at < words.length; at += 2) sum += words[at]
    return sum
  }
}
