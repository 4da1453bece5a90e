/** The part of answer-schemas.ts that speaks of health and load. */
import { z } from 'zod'
import { WAITING_WHY } from '../health/types.ts'
import { count, describes, ms, text } from './describes.ts'
import type { AppsData, HealthData } from './health-types.ts'

export const directive = z.enum(['active', 'draining', 'inactive'])
const server = z.object({
  connections: count.describe('Established TCP connections.'),
  cpuPercent: z.number().min(0).describe('Of the CPU time that the node may use.'),
  memoryBytes: count,
  memoryFreeBytes: count,
  bandwidthBits: count.describe('Bits a second, all links.'),
  bandwidthFreeBits: count.describe("0 when the links' speed is not known."),
})
const endpoint = z.object({
  host: text,
  service: text.nullable().describe('null when the document in force has no such service.'),
  vip: text.describe('address:port'),
  protocol: text,
  physical: text.describe('Where the application listens, address:port.'),
  health: z.enum(['healthy', 'failing', 'unknown']),
  load: count.describe('Percent of the capacity.'),
  capacity: z.int().min(0).max(99),
  target: directive.describe('What the host wants the units to do.'),
  current: directive.describe('What every unit is known to do.'),
  cause: z.enum(['default', 'health', 'overload', 'order', 'stopping']),
})
const waiting = z.object({
  sinceMs: ms,
  atMostMs: ms.describe('From now: so long at most a unit that stays silent is waited for.'),
  units: z.array(
    z.object({
      unit: text,
      why: z
        .enum(WAITING_WHY)
        .describe(
          'no answer yet: not overdue. silent: overdue, or it cannot be asked. differs: it has other rows. not in force: it has the rows and does not follow them yet.',
        ),
    }),
  ),
})

export const group = z
  .object({
    index: count,
    members: z.array(text),
    leader: text
      .nullable()
      .describe('null: they are electing one, and send their heartbeats themselves meanwhile.'),
    generation: count.describe('Counts the leaders of the group.'),
    sinceMs: ms.describe('How long the leader has been the one it is.'),
  })
  .nullable()
  .describe(
    'The group of this node; null where it is no host, or where hosts are so few that they have no leaders.',
  )

export const health = describes<HealthData>()(
  z.object({
    group,
    own: z
      .object({
        generation: count,
        group: count.nullable(),
        leader: text.nullable().describe('null: heartbeats go straight to the units.'),
        rows: z.array(
          endpoint.extend({
            why: text.describe('What the health rests on.'),
            whenFailing: z.enum(['draining', 'inactive']).describe('What it derives to when it fails.'),
            waiting: waiting.nullable().describe('null when target and current state agree.'),
          }),
        ),
      })
      .nullable()
      .describe('The table of this node; null where it is no host.'),
    cache: z
      .array(
        z.object({
          host: text,
          generation: count.nullable(),
          inForce: count.nullable(),
          leaseMs: ms.nullable().describe('0: over. null: an agent too old to have one.'),
          via: text
            .nullable()
            .describe('The leader that passes its heartbeats on to this node; null: it sends them itself.'),
          rows: z.array(endpoint),
        }),
      )
      .nullable()
      .describe('What this node knows of all hosts; null where it is no load balancing unit.'),
    shares: z
      .array(
        z.object({
          service: text,
          scheme: text,
          panic: z.boolean().describe('Only unhealthy hosts are left, and they are used all the same.'),
          overload: z
            .boolean()
            .describe('Only overloaded hosts are left, and they are used by capacity alone.'),
          hosts: z.array(
            z.object({
              host: text,
              percent: z.number(),
              slowStartMs: ms.describe('How long its slow start still lasts; 0: it has its full share.'),
            }),
          ),
        }),
      )
      .nullable(),
    absent: z
      .array(
        z.object({
          host: text,
          service: text,
          vip: text.describe('address:port'),
          protocol: text,
          capacity: z.int().min(0).max(99),
          order: z
            .enum(['draining', 'inactive'])
            .nullable()
            .describe("The operator's order for it; null: somebody misses it."),
        }),
      )
      .describe('What the document asks for and no application serves, though the agent of its host lives.'),
    servers: z.array(server.extend({ host: text })),
  }),
)

export const apps = describes<AppsData>()(
  z.object({
    server: server.nullable(),
    services: z
      .array(
        z.object({
          service: text,
          protocol: text,
          connections: count
            .nullable()
            .describe(
              'Open TCP connections to the VIP; null where the kernel does not tell: UDP, containers.',
            ),
        }),
      )
      .describe('What this host has of its services now.'),
    listeners: z.array(
      z.object({
        protocol: text,
        address: text.describe('address:port'),
        services: z.array(text),
        namespace: text.describe("A container's; empty: the host's own."),
        queue: count.describe('Connections that wait to be accepted.'),
        backlog: count,
        pid: count.nullable(),
        process: text,
      }),
    ),
    processes: z.array(
      z.object({
        pid: count,
        name: text,
        unit: text.describe('systemd unit; empty: none.'),
        memoryBytes: count,
        cpuPercent: ms,
        connections: count,
      }),
    ),
  }),
)
