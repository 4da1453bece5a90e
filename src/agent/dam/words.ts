/** What the packet worker and the atom manager say to each other, as words: flow keys are of ten words. */
import { FLOW_KEY_WORDS } from '../dataplane/flow-key.ts'

/** Flow key, host's cluster IPv4 word, ATOM_OP, service index. */
export const ATOM_WORDS = 13
export const ATOM_OP = { put: 0, end: 1, touch: 2 } as const
/** Flow key, ATOM_KIND, service index. */
export const RESOLVE_WORDS = 12
/** Flow key, host's cluster IPv4 word (0: nobody has it), RESOLVED. Of what is claimed too. */
export const RESOLVED_WORDS = 12
export const RESOLVED = { nobody: 0, ownAtom: 1, memberAtom: 2, host: 3 } as const

export interface Resolved {
  readonly flow: Uint32Array
  /** 0: nobody's. */
  readonly host: number
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
