/** Which flows a host holds mappings of, whoever sent them (R-G7): looks only, nothing counts as use. */
import type { HostCore } from './host-core.ts'
import { type MappingTable, TUPLE_WORDS } from './mappings.ts'

/** Slots of one look: some milliseconds. */
const MAX_SCAN = 1_000_000
const PORTS = 8

/** A byte for each flow key (ten words) in its order; 1: there is one. Mappings are found by identifier, so this goes through all. */
export const mappedFlows = (host: Pick<HostCore, 'mappings'> | null, words: Uint32Array): Uint8Array => {
  const mapped = new Uint8Array(Math.floor(words.length / TUPLE_WORDS))
  if (host === null) return mapped
  const byPorts = new Map<number, number[]>()
  for (let i = 0; i < mapped.length; i++) {
    const ports = words[i * TUPLE_WORDS + PORTS]!
    byPorts.set(ports, [...(byPorts.get(ports) ?? []), i])
  }
  const { mappings } = host
  const { tuples } = mappings
  const end = Math.min(tuples.length, MAX_SCAN * TUPLE_WORDS)
  for (let at = 0; at < end; at += TUPLE_WORDS) {
    const wanted = byPorts.get(tuples[at + PORTS]!)
    if (wanted === undefined) continue
    // The protocol, too: a free slot has none.
    for (const i of wanted) if (isAt(mappings, at, words, i * TUPLE_WORDS)) mapped[i] = 1
  }
  return mapped
}

const isAt = ({ tuples }: MappingTable, at: number, words: Uint32Array, from: number): boolean => {
  for (let i = 0; i < TUPLE_WORDS; i++) if (tuples[at + i] !== words[from + i]) return false
  return true
}
