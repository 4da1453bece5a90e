/** Looking at a managed cluster in a lab from all of its nodes, and keeping it under load. */
import * as assert from 'uvu/assert'
import type { ClusterData, ConfigData, NodesData, StatusData } from '../../src/control/types.ts'
import { errorText } from '../../src/errors.ts'
import type { Lab } from '../../src/lab/lab.ts'
import type { LoadRecord, LoadResult } from './load-client.ts'
import { startLoad, until } from './traffic.ts'

const PATIENCE_MS = 30_000

/** Runs a command in a place; it must end with `code`. */
export const shunt = async (
  lab: Lab,
  place: string,
  argv: string[],
  code = 0,
): Promise<{ stdout: string; stderr: string }> => {
  const { code: ended, stdout, stderr } = await lab.shunt(place, argv)
  assert.is(ended, code, `[${place}] shunt ${argv.join(' ')}\n${stdout}${stderr}`)
  return { stdout, stderr }
}

/** What a node says of the cluster that must not depend on the node, nor on the moment. */
export const standing = async (lab: Lab, node: string): Promise<object> => {
  const [{ digest, statements, secretNumber, departed, conflicts }, { nodes }, config] = await Promise.all([
    lab.api<ClusterData>(node, '/v1/cluster'),
    lab.api<NodesData>(node, '/v1/nodes'),
    lab.api<ConfigData>(node, '/v1/config'),
  ])
  return {
    ...{ digest, statements, secretNumber, departed, conflicts },
    document: [config.revision, config.hash],
    members: nodes.map(({ name, id, roles, address }) => [name, id, [...roles].sort().join(), address]),
  }
}

export const standings = async (lab: Lab, nodes: readonly string[]): Promise<Record<string, object>> =>
  Object.fromEntries(await Promise.all(nodes.map(async node => [node, await standing(lab, node)] as const)))

/** Until these are the members to each of them, all alive, with one set of statements, which is told. */
export const together = async (lab: Lab, nodes: readonly string[]): Promise<string> => {
  const expected = [...nodes].sort().join()
  let last = ''
  const look = async (): Promise<string | undefined> => {
    const digests = new Set<string>()
    for (const node of nodes) {
      const { nodes: rows } = await lab.api<NodesData>(node, '/v1/nodes')
      const bad = rows.filter(r => r.agent !== 'alive' || r.node !== 'alive' || !r.synced)
      last = `${node} sees ${rows.map(r => r.name)}, of which ${bad.map(r => `${r.name} ${r.node}/${r.agent}${r.synced ? '' : ' not synced'}`)} not well`
      if (bad.length > 0 || rows.map(r => r.name).join() !== expected) return undefined
      digests.add((await lab.api<ClusterData>(node, '/v1/cluster')).digest)
    }
    last = `digests ${[...digests]}`
    return digests.size === 1 ? [...digests][0] : undefined
  }
  try {
    const patiently = async (): Promise<string | undefined> => {
      try {
        return await look()
      } catch (error) {
        last = errorText(error)
        return undefined
      }
    }
    return await until('all nodes together', patiently, PATIENCE_MS)
  } catch (error) {
    throw new Error(`${errorText(error)}: ${last}`)
  }
}

export interface Steady {
  /** Ends it; no connection may have failed. */
  stop(): Promise<LoadResult>
  /** The same, with the failed connections for the caller to judge. */
  end(): Promise<LoadResult>
}

/** New connections all the time, each with one small answer. */
export const steadyConnections = (lab: Lab, client = lab.client(1)): Steady => {
  const forMs = { forMs: 300_000 }
  const running = startLoad(lab, client, {
    ...{ concurrency: 4, gapMs: 20, timeoutMs: 15_000, ...forMs },
    jobs: [{ kind: 'small', count: 1 }],
  })
  return {
    end: () => running.stop(),
    async stop() {
      const result = await running.stop()
      assert.equal(failures(result), [], `of ${result.done} connections`)
      assert.ok(result.done > 20, `only ${result.done} connections`)
      return result
    },
  }
}

export const failures = (result: LoadResult): LoadRecord[] => result.records.filter(r => r.error !== null)

/** Connections to a host that began after a time (Unix ms). */
export const reached = (result: LoadResult, host: string, fromMs: number): number =>
  result.records.filter(r => r.host === host && r.startMs > fromMs).length

/** Sum of a counter over nodes. */
export const counterSum = async (lab: Lab, counter: string, nodes: readonly string[]): Promise<number> => {
  const all = await Promise.all(nodes.map(node => lab.api<StatusData>(node, '/v1/status')))
  return all.reduce((sum, { counters }) => sum + (counters[counter] ?? 0), 0)
}

export const print = (text: string): void => void process.stdout.write(`\n  ${text}\n`)
