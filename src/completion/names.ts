/** Names that only a running agent knows, for completion. */
import { get } from '../control/client.ts'
import type { ConfigHistoryData, HostsData, NodesData, VipsData } from '../control/types.ts'
import type { Noun } from './model.ts'

/** A shell waits for it: later than this nobody wants it any more. */
const PATIENCE_MS = 1_000

const READERS: Record<Noun, { path: string; names(data: unknown): (string | number)[] }> = {
  nodes: { path: '/v1/nodes', names: data => (data as NodesData).nodes.map(n => n.name) },
  services: { path: '/v1/vips', names: data => (data as VipsData).vips.map(v => v.service) },
  hosts: { path: '/v1/hosts', names: data => (data as HostsData).hosts.map(h => h.name) },
  revisions: {
    path: '/v1/config/history',
    names: data => (data as ConfigHistoryData).revisions.map(r => r.revision),
  },
}

/** Sorted, each once; none when the agent does not answer. What could harm a shell is left out. */
export const namesOf = async (socket: string, noun: Noun): Promise<string[]> => {
  try {
    const { path, names } = READERS[noun]
    const { data } = await get(socket, path, AbortSignal.timeout(PATIENCE_MS))
    return [...new Set(names(data).map(String))].filter(name => /^[A-Za-z0-9._-]+$/.test(name)).sort()
  } catch {
    return []
  }
}
