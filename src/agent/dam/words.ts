/** What the packet worker is told of flows, as words (dataplane/messages.ts). */
import { FLOW_KEY_WORDS } from '../dataplane/flow-key.ts'
import { RESOLVED_WORDS } from '../dataplane/messages.ts'

export interface Resolved {
  readonly flow: Uint32Array
  /** Cluster IPv4 word; 0: nobody's. */
  readonly host: number
  /** RESOLVED */
  readonly how: number
}

export const resolvedWords = (records: readonly Resolved[]): Uint32Array<ArrayBuffer> => {
  const words = new Uint32Array(records.length * RESOLVED_WORDS)
  records.forEach(({ flow, host, how }, i) => {
    words.set(flow, i * RESOLVED_WORDS)
    words[i * RESOLVED_WORDS + FLOW_KEY_WORDS] = host
    words[i * RESOLVED_WORDS + FLOW_KEY_WORDS + 1] = how
  })
  return words
}
