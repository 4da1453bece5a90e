/** Who is seen alive or dead by whom, and when: follows the events of every node by the clock of this process. */
import { setTimeout as delay } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { follow } from '../../src/control/client.ts'
import type { EventKind, EventsData, NodeRow, NodesData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { until } from './traffic.ts'

const PATIENCE_MS = 15_000
/** Within which the death of an agent, and of a node, is seen (architecture decision 7). */
export const AGENT_MS = 1_000
export const NODE_MS = 500
export const DEATHS: readonly EventKind[] = ['node.suspect', 'node.dead']
export const MACHINE: readonly EventKind[] = [...DEATHS, 'node.alive']
export const AGENT: readonly EventKind[] = ['agent.down', 'agent.up', 'agent.draining']

export const FIVE_NODES = { mode: 'managed', forwarders: 2, classifiers: 1, hosts: 2 } as const
/** Nodes of these in the order in which they suffer: neighbours have different roles. */
export const ORDER = ['h1', 'f2', 'h2', 'c1']

export interface Seen {
  /** Of performance.now(), when word of it came; it happened a little earlier. */
  atMs: number
  /** The node that saw it. */
  by: string
  kind: EventKind
  subject: string
}

export class Watch {
  readonly #lab: Lab
  readonly #stop = new AbortController()
  readonly #wakers = new Set<() => void>()
  readonly #streams: Promise<void>[] = []
  readonly seen: Seen[] = []

  private constructor(lab: Lab) {
    this.#lab = lab
  }

  static async start(lab: Lab): Promise<Watch> {
    const watch = new Watch(lab)
    await Promise.all(lab.nodes.map(({ name }) => watch.follow(name)))
    return watch
  }

  /** Of an agent that runs; resolves when its events come. For one that was started anew, call it again. */
  follow(by: string): Promise<void> {
    return new Promise((resolve, reject) => {
      let begun = false
      const onEvents = (data: EventsData): void => {
        const atMs = performance.now()
        // The first answer tells what was before.
        if (begun) for (const { kind, subject } of data.events) this.seen.push({ atMs, by, kind, subject })
        begun = true
        resolve()
        for (const wake of this.#wakers) wake()
      }
      const stream = follow(
        this.#lab.socket(by),
        '/v1/events?follow=1',
        envelope => onEvents(envelope.data as EventsData),
        this.#stop.signal,
      )
      // It ends with its agent, which may have been killed.
      this.#streams.push(stream.catch(reject))
    })
  }

  /** Where the notes end now. */
  mark(): number {
    return this.seen.length
  }

  since(mark: number, kinds: readonly EventKind[], subject?: string): Seen[] {
    return this.seen
      .slice(mark)
      .filter(s => kinds.includes(s.kind) && (subject === undefined || s.subject === subject))
  }

  /** When each of `observers` first saw it after `mark`, in their order. */
  async until(
    kind: EventKind,
    subject: string,
    observers: readonly string[],
    mark: number,
  ): Promise<number[]> {
    const endMs = performance.now() + PATIENCE_MS
    for (;;) {
      const found = this.since(mark, [kind], subject)
      const times = observers.map(by => found.find(s => s.by === by)?.atMs)
      if (times.every(atMs => atMs !== undefined)) return times as number[]
      const leftMs = endMs - performance.now()
      const missing = observers.filter((_, i) => times[i] === undefined)
      if (leftMs <= 0)
        throw new Error(
          `${missing} never saw ${kind} of ${subject}: ${JSON.stringify(this.seen.slice(mark))}`,
        )
      await this.#news(leftMs)
    }
  }

  #news(forMs: number): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#wakers.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, forMs)
      this.#wakers.add(wake)
    })
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#streams)
  }
}

export const nodesSeenBy = async (lab: Lab, by: string): Promise<NodeRow[]> =>
  (await lab.api<NodesData>(by, '/v1/nodes')).nodes

/** `node/agent` of a node as others show it. */
export const shown = async (lab: Lab, by: string, name: string): Promise<string> => {
  const row = (await nodesSeenBy(lab, by)).find(n => n.name === name)
  assert.ok(row, `${by} does not show ${name}`)
  return `${row.node}/${row.agent}`
}

/** Until every node shows every node and agent as alive. */
export const allAlive = (lab: Lab): Promise<true> =>
  until(
    'everybody to see everybody alive',
    async () => {
      const views = await Promise.all(lab.nodes.map(({ name }) => nodesSeenBy(lab, name)))
      return views.flat().every(n => n.node === 'alive' && n.agent === 'alive') ? true : undefined
    },
    PATIENCE_MS,
  )

/** Undoes what a failed test may have left frozen or cut: it is not the next one's trouble. */
export const restore = async (lab: Lab): Promise<void> => {
  for (const { name } of lab.nodes) {
    lab.kill(name, 'SIGCONT')
    await lab.setLink(name, 'up')
  }
  await allAlive(lab)
}

export const othersThan = (lab: Lab, ...some: string[]): string[] =>
  lab.nodes.map(n => n.name).filter(n => !some.includes(n))

/** At another phase of heartbeats and probes each run. */
export const phase = (run: number): Promise<void> => delay(250 + ((run * 37) % 250))

export const spread = (values: readonly number[]): string => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): string => sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(0)
  return `min ${at(0)} p50 ${at(0.5)} p90 ${at(0.9)} max ${at(1)} ms of ${values.length}`
}
