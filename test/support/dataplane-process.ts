/**
 * The packet side of an agent, without the agent: kernel setup and data plane worker in this process's network namespace.
 * Orders come as lines of JSON on standard input and are answered by one line each; it puts the kernel back and ends when
 * its standard input does.
 */
import { createInterface } from 'node:readline'
import { allotmentUpdate } from '../../src/agent/classify/update.ts'
import { Dataplane } from '../../src/agent/dataplane/dataplane.ts'
import type { Directory } from '../../src/agent/dataplane/directory.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { tableName } from '../../src/agent/dataplane/nft/ruleset.ts'
import { KernelSetup } from '../../src/agent/kernel-setup.ts'
import { buildDirectory, buildPlan, TUN_NAME } from '../../src/agent/plan.ts'
import { type NodeConfigInput, nodeConfigSchema } from '../../src/config/schema.ts'
import { errorText } from '../../src/errors.ts'
import type { Allotment } from '../../src/health/allotment/handler.ts'
import type { ProbeTarget } from '../../src/health/node-probe.ts'
import type { DirectiveState } from '../../src/health/types.ts'
import { readCounters } from '../../src/os/netlink/nftables-counters.ts'

export interface Order {
  /** Takes this into force; the first starts. */
  readonly config?: NodeConfigInput
  readonly keepVips?: readonly string[]
  readonly leaving?: readonly string[]
  /** Numbers of the secrets, the one that signs first. */
  readonly secrets?: readonly number[]
  /** Machines to probe from now on. */
  readonly probe?: readonly ProbeTarget[]
  /** Puts allotments in force: the state of each host of each service. Active ones get equal shares, each with these tokens. */
  readonly allot?: Readonly<Record<string, Readonly<Record<string, DirectiveState>>>>
  readonly tokens?: number
}
export interface Answer {
  readonly error?: string
  readonly worker: Record<string, number>
  readonly kernel: Record<string, number>
  readonly hostVips: Record<string, number>
  readonly hostFlows: readonly number[]
  readonly epochs: readonly number[]
  /** Services whose allotments the classifier asked for. */
  readonly wanted: readonly number[]
  readonly drops: readonly number[]
  /** Last state of each machine that was ever probed. */
  readonly machines: Readonly<Record<string, string>>
}

let kernel: KernelSetup | null = null
let dataplane: Dataplane | null = null
let directory: Directory | undefined
let epoch = 100
const epochs: number[] = []
const wanted: number[] = []
let allotments = 0
const machines: Record<string, string> = {}

const follow = async ({ config, keepVips = [], leaving = [], secrets = [1] }: Order): Promise<void> => {
  if (config === undefined) return
  const parsed = nodeConfigSchema.parse(config)
  const next = buildDirectory(parsed, directory, new Set(leaving))
  if (kernel === null) {
    kernel = new KernelSetup(parsed, next)
    await kernel.apply()
  } else await kernel.reconfigure(parsed, next, new Set(keepVips))
  directory = next
  const plan: DataplanePlan = buildPlan({
    config: parsed,
    directory,
    secrets: secrets.map(number => ({ number, bytes: new Uint8Array(32).fill(number) })),
    ...kernel.links(),
    epoch,
    tableKey: [1, 2],
    choiceKey: [3, 4],
  })
  if (dataplane === null) {
    dataplane = await Dataplane.start(plan, {
      ...{ plumb: () => {}, ended: () => {} },
      allotmentsWanted: services => wanted.push(...services),
      nodes: states => {
        for (const { name, state } of states) machines[name] = state
      },
      epoch: now => {
        epoch = now
        epochs.push(now)
      },
      failed: message => {
        process.stderr.write(`${message}\n`)
        process.exit(1)
      },
    })
  } else await dataplane.reconfigure(plan)
  if (plan.host !== null) kernel.tunReady(TUN_NAME)
  dataplane.send({
    type: 'hosts',
    states: directory.hosts.map(({ index }) => ({ index, live: true, draining: false })),
  })
}

const ALLOTTED_MS = 60_000

const allot = async (services: NonNullable<Order['allot']>, tokens = 0): Promise<void> => {
  const untilMs = performance.now() + ALLOTTED_MS
  const made = Object.entries(services).map(([service, states]): [string, Allotment] => {
    const active = Object.keys(states).filter(host => states[host] === 'active')
    const allotment: Allotment = {
      ...{ number: ++allotments, scheme: tokens > 0 ? 'tokens' : 'hash', strategy: 'round-robin' },
      shares: active.map(host => ({ host, weight: 1, tokens, leaseUntilMs: untilMs })),
      ...{ untilMs, panic: false, overload: false },
      states: Object.entries(states).map(([host, state]) => ({ host, state, weight: 1 })),
    }
    return [service, allotment]
  })
  await dataplane!.allot(allotmentUpdate(directory!, new Map(made), true))
}

const answer = async (order: Order): Promise<Answer> => {
  const error = await follow(order).then(
    () => undefined,
    (thrown: unknown) => errorText(thrown),
  )
  if (order.allot !== undefined) await allot(order.allot, order.tokens)
  if (order.probe !== undefined) dataplane?.probe(order.probe)
  const status = await dataplane?.status()
  return {
    error,
    worker: status?.counters ?? {},
    kernel: Object.fromEntries(
      Object.entries(readCounters(tableName('n1'))).map(([name, { packets }]) => [name, packets]),
    ),
    hostVips: status?.hostVips ?? {},
    hostFlows: status?.hostFlows ?? [],
    epochs,
    wanted,
    drops: [...(status?.drops ?? [])],
    machines,
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as Order))}\n`)
}
const undo = async (): Promise<unknown[]> => {
  await dataplane?.stop()
  return (await kernel?.undo()) ?? []
}
for (const error of await undo()) process.stderr.write(`${errorText(error)}\n`)
process.exit(0)
