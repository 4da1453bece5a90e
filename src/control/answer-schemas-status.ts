/** Part of answer-schemas.ts: what `shunt status` is answered. */
import { z } from 'zod'
import { group } from './answer-schemas-health.ts'
import { count, describes, liveness, ms, rates, text } from './describes.ts'
import type { StatusData } from './types.ts'

export const status = describes<StatusData>()(
  z.object({
    node: text,
    version: text,
    pid: count,
    instance: text.describe('Random, new at each start of the agent.'),
    roles: z.array(text),
    state: z.enum(['starting', 'running', 'draining']),
    uptimeMs: ms,
    dataplane: z.string().describe('What carries packets, and why not XDP.'),
    adopted: text.nullable().describe('What the agent took over of the one before; null: nothing was there.'),
    epoch: z.int().nullable().describe('Epoch of the flow identifiers; null where none are given out.'),
    peers: z.array(
      z.object({
        name: text,
        roles: z.array(text),
        address: text,
        state: liveness,
        lastHeardMs: ms.nullable(),
        rttMs: ms.nullable(),
      }),
    ),
    group,
    limits: z
      .array(z.object({ name: text, used: count, capacity: count, evicted: count }))
      .describe('Tables and queues of fixed capacity.'),
    rates,
    counters: z.record(text, z.number()),
    memory: z.object({ rssBytes: count }),
    functions: z
      .array(
        z.object({
          function: z.enum(['forwarder', 'classifier', 'host', 'control']),
          cpuPercent: ms.describe('Of one CPU.'),
          memoryBytes: count,
          bandwidthBits: count,
        }),
      )
      .describe('What each function of the node uses, since the look before.'),
    advice: z.array(text).describe('What to do about it.'),
  }),
)
