/** Driving traffic through a lab, and looking at what it did. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import * as assert from 'uvu/assert'
import type { FlowsData, StatusData } from '../../src/control/types.ts'
import { Lab, type LabOptions } from '../../src/lab/lab.ts'
import { labName, leftovers } from './lab.ts'
import type { LoadPlan, LoadResult } from './load-client.ts'

export const VIP = '10.99.0.1'
export const NODE = [process.execPath, '--no-warnings']
/** A program of test/support, to be run in a place of the lab. */
export const program = (name: string): string[] => [...NODE, join(import.meta.dirname, name)]

/** A lab for one body; whatever happens in it, nothing of the lab is left. */
export const withLab = async (options: LabOptions, body: (lab: Lab) => Promise<void>): Promise<void> => {
  const lab = await Lab.up({ name: labName(), ...options })
  try {
    await body(lab)
  } catch (error) {
    // What went wrong first is what is told of.
    await lab.down(0).catch(() => {})
    throw error
  }
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
}

/** Runs a load from a client and gives what came of it. */
export const load = async (
  lab: Lab,
  client: string,
  plan: Omit<LoadPlan, 'vip'> & { vip?: string },
): Promise<LoadResult> => {
  const argv = [...program('load-client.ts'), JSON.stringify({ vip: VIP, tag: client, ...plan })]
  const ended = await lab.exec(client, argv, { timeoutMs: 120_000 })
  assert.is(ended.code, 0, ended.stderr)
  return JSON.parse(ended.stdout) as LoadResult
}

/** A load that goes on until it is stopped, a minute at most. */
export const startLoad = (
  lab: Lab,
  client: string,
  plan: Omit<LoadPlan, 'vip' | 'forMs'>,
): { stop(): Promise<LoadResult> } => {
  const whole: LoadPlan = { vip: VIP, tag: client, forMs: 60_000, ...plan }
  const child = lab.spawn(client, [...program('load-client.ts'), JSON.stringify(whole)])
  const output = Promise.all([text(child.stdout!), text(child.stderr!)])
  return {
    async stop() {
      child.kill('SIGTERM')
      const [stdout, stderr] = await output
      assert.is.not(stdout, '', stderr)
      return JSON.parse(stdout) as LoadResult
    },
  }
}

/** No request failed, and every upload is at its host as it was sent. */
export const assertWhole = (lab: Lab, result: LoadResult): void => {
  assert.equal(result.errors, [])
  assert.is(result.failed, 0)
  for (const { name, host, sha256 } of result.uploads)
    assert.is(sha256Of(`${lab.files(host).web}/uploads/${name}`), sha256, `${name} at ${host}`)
}

export const sha256Of = (path: string): string =>
  createHash('sha256').update(readFileSync(path)).digest('hex')

export const webFile = (lab: Lab, path: string): { path: string; sha256: string; bytes: number } =>
  lab.webFiles.find(file => file.path === path)!

export type Counters = Record<string, number>

/** Counters of every node by name. */
export const counters = async (lab: Lab): Promise<Record<string, Counters>> =>
  Object.fromEntries(
    await Promise.all(
      lab.nodes.map(async ({ name }) => [name, (await lab.api<StatusData>(name, '/v1/status')).counters]),
    ),
  )

/** Growth of one counter over some nodes. */
export const grown = (
  before: Record<string, Counters>,
  after: Record<string, Counters>,
  counter: string,
  nodes: readonly string[] = Object.keys(after),
): number =>
  nodes.reduce((sum, node) => sum + (after[node]?.[counter] ?? 0) - (before[node]?.[counter] ?? 0), 0)

export const flowsOf = async (lab: Lab, node: string): Promise<FlowsData['flows']> =>
  (await lab.api<FlowsData>(node, '/v1/flows?limit=10000')).flows

export interface AccessLine {
  client: string
  status: number
  method: string
  uri: string
  clientPort: number
  server: string
}

/** What a host's web server wrote down. */
export const accessLog = (lab: Lab, host: string): AccessLine[] =>
  readFileSync(lab.files(host).webLog, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(line => {
      const [client, status, method, uri, clientPort, server] = line.split(' ')
      return {
        client: client!,
        status: Number(status),
        method: method!,
        uri: uri!,
        clientPort: Number(clientPort),
        server: server!,
      }
    })

/** A kernel counter such as IpFragCreates, since the namespace was made. */
export const kernelCounter = async (lab: Lab, place: string, name: string): Promise<number> => {
  const { stdout } = await lab.exec(place, ['nstat', '-asz', name])
  const found = new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(stdout)
  assert.ok(found, `nstat shows no ${name}: ${stdout}`)
  return Number(found[1])
}

/** Asks until `ask` gives something else than undefined. */
export const until = async <T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 10_000,
): Promise<T> => {
  const endAt = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > endAt) throw new Error(`${what}: not within ${timeoutMs} ms`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
