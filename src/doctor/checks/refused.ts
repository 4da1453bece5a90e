/** A node that was evicted, or left and came back from a backup, is told so by nobody: it only finds that no other keeps a link with it. */
import type { NodesData } from '../../control/types.ts'
import { type Finding, fail } from '../facts.ts'

/** One finding when no other agent is in touch though some listen, else none. */
export const refusedByAll = (
  others: NodesData['nodes'],
  listening: readonly string[],
  mode: NodesData['mode'],
): Finding[] => {
  if (listening.length === 0 || others.some(({ agent }) => agent === 'alive')) return []
  const who = `${listening.join(', ')} ${listening.length === 1 ? 'listens' : 'listen'}, but no link comes about`
  if (mode === 'static')
    return [
      fail(
        `The others refuse this node: ${who}.`,
        'compare peers: and cluster.secrets in the node files here and there; journalctl -u shunt says more',
      ),
    ]
  return [
    fail(
      `The others refuse this node: was it evicted, or did it leave (and came back from a backup)? ${who}.`,
      'shunt nodes on another node tells; if it is not listed there, shunt join TOKEN --anew brings it back as a new node',
    ),
  ]
}
