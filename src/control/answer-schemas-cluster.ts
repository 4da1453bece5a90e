/** The part of answer-schemas.ts that speaks of the cluster: its nodes, its document, and the statements about both. */
import { z } from 'zod'
import { directive } from './answer-schemas-health.ts'
import { count, describes, liveness, ms, text, time } from './describes.ts'
import type { ClusterData, ConfigData, ConfigHistoryData, NodesData, SubmitData } from './types.ts'

const mode = z
  .enum(['managed', 'static'])
  .describe("static: peers and services stand in each node's file; no order changes them.")
const revisionState = z.enum(['current', 'past', 'lost'])

export const nodes = describes<NodesData>()(
  z.object({
    mode,
    nodes: z.array(
      z.object({
        name: text,
        id: text.describe('Peer id.'),
        address: text,
        tunnel: text.nullable(),
        address6: text.nullable().describe('Of IPv6; null: the node has none, and carries no IPv6 services.'),
        tunnel6: text.nullable(),
        roles: z.array(text).describe('As the operator has given them; in a static cluster, as configured.'),
        retiring: z
          .array(text)
          .describe(
            'Roles taken from it that it still carries out for running flows, at most for the drain time-out.',
          ),
        self: z.boolean().describe('The node that answers.'),
        node: z.enum(['alive', 'suspect', 'dead', 'unknown']).describe('The machine, by probes.'),
        agent: liveness.describe('The agent on it, by heartbeats.'),
        draining: z.boolean(),
        probeRttMs: ms.nullable(),
        agentRttMs: ms.nullable(),
        lastHeardMs: ms.nullable(),
        revision: count.nullable().describe('Of the cluster document that its agent has in force.'),
        rolesRevision: count.describe(
          "Of the operator's last change of its roles, 0 for those it joined with.",
        ),
        directives: z
          .array(
            z.object({
              app: text.describe("A service, or '*' for all of its applications."),
              state: directive.describe('active: withdrawn.'),
              revision: count.describe('Of the order; the next one has the next number.'),
            }),
          )
          .describe("The operator's orders about its applications."),
        vips: z
          .array(text)
          .nullable()
          .describe(
            'Virtual IPs announced by ARP that it holds, as far as the node that answers knows; null: that node is no forwarder, or there are none.',
          ),
        synced: z.boolean().describe('Holds the same statements as the node that answers.'),
        joinedAt: z.iso.datetime().nullable().describe('ISO 8601; null in a static cluster.'),
      }),
    ),
  }),
)

export const cluster = describes<ClusterData>()(
  z.object({
    mode,
    cluster: text.nullable().describe("The operator's public key, base64url; null in a static cluster."),
    name: text.nullable(),
    node: z.object({ id: text, name: text, address: text, controlPort: z.int() }),
    digest: text.describe('Of the statements that this node holds, 16 hexadecimal digits.'),
    statements: count,
    secrets: z.array(z.object({ number: count, state: z.enum(['signing', 'coming', 'ending']) })),
    secretNumber: count.describe('The highest; the next secret has the next number.'),
    configHash: text.describe("Hash of the document in force, or ''."),
    departed: z.array(z.object({ id: text, name: text, reason: z.enum(['left', 'evicted']), at: time })),
    conflicts: z.array(z.object({ id: text, name: text, why: text })),
  }),
)

export const config = describes<ConfigData>()(
  z.object({
    revision: count.describe('0 when no document was applied yet.'),
    hash: text,
    parent: text,
    text: text.describe('YAML, as the operator wrote it.'),
    note: text,
    appliedAt: z.union([z.iso.datetime(), z.literal('')]).describe("ISO 8601, or ''."),
    state: z.enum(['current', 'past', 'lost', 'none']),
    rollout: z
      .array(z.object({ node: text, revision: count.nullable() }))
      .describe('What each member has in force; null when its agent cannot be heard.'),
    warnings: z.array(text),
  }),
)

export const history = describes<ConfigHistoryData>()(
  z.object({
    revisions: z.array(
      z.object({
        revision: count,
        hash: text,
        parent: text,
        note: text,
        appliedAt: time,
        state: revisionState,
        bytes: count,
      }),
    ),
  }),
)

export const submit = describes<SubmitData>()(
  z.object({ accepted: count, known: count.describe('Held already.') }),
)
