/** The part of answer-schemas.ts that speaks of what is carried, and to where: hosts, virtual IPs, flows, drops. */
import { z } from 'zod'
import { flowOrigin } from './answer-schemas-trace.ts'
import { count, describes, liveness, ms, rates, text } from './describes.ts'
import type { DropsData, FailoverData, FlowsData, HostsData, VipsData } from './types.ts'

export const hosts = describes<HostsData>()(
  z.object({
    hosts: z.array(
      z.object({
        name: text,
        address: text,
        state: liveness,
        services: z.array(text),
        capacity: z.int().min(0).max(99).describe('The highest that it has in any service.'),
        capacities: z
          .array(z.object({ service: text, capacity: z.int().min(0).max(99) }))
          .describe('In each of its services.'),
        flows: count,
        connections: count
          .nullable()
          .describe('Since the agent started; null where the node is no forwarder.'),
        rates,
      }),
    ),
  }),
)

export const vips = describes<VipsData>()(
  z.object({
    vips: z.array(
      z.object({
        service: text,
        vip: text,
        port: z.int().min(1).max(65_535),
        protocol: text,
        hosts: count,
        announce: z.enum(['arp', 'routed']),
        holder: text
          .nullable()
          .describe(
            'Forwarder that holds the virtual IP; null: none, not known to this node (it is no forwarder), or not announced by ARP.',
          ),
        ordered: z
          .boolean()
          .describe('An operator wants it there (failover): it is not moved to even out shares.'),
        unattended: z.boolean().describe("The holder's agent is not heard: new connections may wait."),
        classifiers: count.describe(
          'Nodes that choose hosts for new connections, with an agent that is not known to be away.',
        ),
        live: count.describe('Hosts of the service whose agents are alive.'),
        ready: count
          .nullable()
          .describe(
            'Hosts that this node may give new connections now; null where it is no load balancing unit.',
          ),
        fallback: z
          .enum(['failing', 'overload'])
          .nullable()
          .describe('Why hosts that are not well are used all the same: no other is left.'),
        affinity: z
          .object({
            prefix: z.int().min(1).max(32),
            prefix6: z.int().min(1).max(128),
            timeoutMs: count,
            sessions: count.describe('Clients whose host this node knows.'),
          })
          .nullable()
          .describe('Clients keep their hosts, known by so many bits of their addresses; null: they do not.'),
        flows: count,
        connections: count
          .nullable()
          .describe('Since the agent started; null where the node is no forwarder.'),
        rates,
      }),
    ),
  }),
)

export const failover = describes<FailoverData>()(
  z.object({
    vip: text,
    from: text.nullable().describe('Who held it before; null: nobody.'),
    to: text,
    changed: z.boolean(),
    ordered: z.boolean().describe('Whether it is kept there now.'),
    tookMs: z.number().min(0).describe('From the order until the new holder said that it answers for it.'),
  }),
)

export const flows = describes<FlowsData>()(
  z.object({
    total: count.describe('Flows that the query matches.'),
    shown: count,
    flows: z.array(
      z.object({
        protocol: text,
        client: text.describe('address:port'),
        vip: text,
        host: text,
        identifier: text.describe('Flow identifier, 8 hexadecimal digits, or -.'),
        state: z.enum(['embryonic', 'established', 'closing']),
        plumbed: z.boolean().describe('The kernel forwards its packets without the agent.'),
        origin: flowOrigin,
        slowPackets: count,
        idleMs: ms,
      }),
    ),
  }),
)

export const drops = describes<DropsData>()(
  z.object({
    drops: z.array(
      z.object({
        number: count.describe('Never given to another reason.'),
        reason: text,
        where: z.enum(['kernel', 'agent']),
        count,
        hint: text,
      }),
    ),
  }),
)
