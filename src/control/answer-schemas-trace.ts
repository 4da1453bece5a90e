/** Part of answer-schemas.ts: what `shunt trace` and `shunt capture` are answered. */
import { z } from 'zod'
import { count, describes, ms, text } from './describes.ts'
import type { CaptureData, TraceData } from './types.ts'

const identifier = text.describe('Flow identifier, 8 hexadecimal digits, or -: the host is this node.')

export const flowOrigin = z
  .enum(['chosen', 'kept', 'own-atom', 'member-atom', 'host', 'nobody', 'guess'])
  .describe(
    'How it came to its host: chosen as new, kept from the agent before, by an atom of this node or of another one, by the host itself; nobody has it; guessed for an ICMP error.',
  )

export const trace = describes<TraceData>()(
  z.object({
    protocol: z.enum(['tcp', 'udp']),
    client: text,
    vip: text,
    dataplane: text,
    inForce: z.boolean().describe('Some service here has the VIP.'),
    service: text.nullable().describe('null: none on this port and protocol.'),
    forwarder: z.boolean().describe('This node is a forwarder.'),
    kernel: z
      .object({
        by: z.enum(['xdp', 'nftables']),
        host: text,
        identifier,
        state: z.enum(['embryonic', 'young', 'established', 'fin', 'reset', 'reopened', 'held']),
        mapped: z.boolean(),
        idleMs: ms.nullable(),
      })
      .nullable()
      .describe("The kernel's route."),
    flow: z
      .object({
        host: text.nullable(),
        identifier,
        state: z.enum(['embryonic', 'established', 'closing']),
        mapped: z.boolean(),
        plumbed: z.boolean(),
        origin: flowOrigin,
        slowPackets: count,
        idleMs: ms,
        inactive: z.boolean().describe('No packet may go to its host now.'),
      })
      .nullable()
      .describe("The agent's flow."),
    choice: z
      .object({
        by: z.enum(['affinity', 'capacity', 'nothing', 'stale', 'hash', 'percentages', 'tokens']),
        host: text.nullable(),
        candidates: z.array(
          z.object({
            host: text,
            percent: z.number().describe('Of the new connections.'),
            tokens: z.number().nullable(),
            leaseMs: ms.nullable(),
            leftOut: z.array(text).describe('Why it gets no new connection; empty: it may.'),
          }),
        ),
      })
      .nullable()
      .describe('What a first packet would get here; null where the node chooses no hosts.'),
    classifier: text.nullable().describe('Which one this forwarder asks about new flows.'),
    nextHop: z.object({ address: text, interface: text }).nullable(),
    hostSide: z
      .object({
        mappings: z.array(
          z.object({
            tunnel: text,
            identifier,
            state: z.enum(['embryonic', 'established', 'closing', 'committed']),
            idleMs: ms,
            kernel: z.enum(['xdp', 'nftables']).nullable(),
          }),
        ),
        socket: text.nullable().describe('State of the socket that a packet would meet; null: none.'),
      })
      .nullable()
      .describe('null where the node is no host.'),
    verdict: z.enum(['forwarded', 'own stack', 'classifier', 'dropped', 'not ours']),
    host: text.nullable(),
    why: text,
  }),
)

export const capture = describes<CaptureData>()(
  z.object({
    packets: z.array(
      z.object({
        timeUs: ms.describe('Unix time in microseconds.'),
        interface: text,
        length: count.describe('Of the whole frame.'),
        verdict: z
          .enum(['passed', 'dropped', 'sent back', 'redirected', 'aborted'])
          .nullable()
          .describe('What XDP did; null where it did not look.'),
        reason: text.nullable(),
        data: z.string().describe('The head of the Ethernet frame, base64.'),
      }),
    ),
    lost: count.describe('Packets that there was no room for, until now.'),
    end: z.enum(['count', 'time', 'stopped']).nullable().describe('Of the last line: why it ended.'),
  }),
)
