/**
 * What the control API answers, for its OpenAPI document; the compiler compares each with the type that the agent and the
 * commands use. Open to additions: readers must not mind fields that they do not know.
 */
import { z } from 'zod'
import { atoms } from './answer-schemas-atoms.ts'
import { apps, directive, group, health } from './answer-schemas-health.ts'
import { capture, flowOrigin, trace } from './answer-schemas-trace.ts'
import type { ReportData, WhoamiData } from './app-types.ts'
import { count, describes, ms, text } from './describes.ts'
import type {
  ClusterData,
  ConfigData,
  ConfigHistoryData,
  DropsData,
  EventsData,
  FlowsData,
  HostsData,
  NodesData,
  StatusData,
  SubmitData,
  VipsData,
} from './types.ts'

const mode = z
  .enum(['managed', 'static'])
  .describe("static: peers and services stand in each node's file; no order changes them.")
const time = z.iso.datetime().describe('ISO 8601, UTC.')
const liveness = z.enum(['alive', 'dead', 'connecting'])
const revisionState = z.enum(['current', 'past', 'lost'])

const rates = z
  .object({
    packets: ms.describe('Packets that the kernel merged count once.'),
    bytes: ms.describe('Of IP packets.'),
    connections: ms.nullable().describe('New ones; null where the node is no forwarder.'),
  })
  .nullable()
  .describe('A second, over the last five; null where the node does not count it, or not yet.')

const status = describes<StatusData>()(
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

const hosts = describes<HostsData>()(
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

const vips = describes<VipsData>()(
  z.object({
    vips: z.array(
      z.object({
        service: text,
        vip: text,
        port: z.int().min(1).max(65_535),
        protocol: text,
        hosts: count,
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

const flows = describes<FlowsData>()(
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

const drops = describes<DropsData>()(
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

const nodes = describes<NodesData>()(
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
        synced: z.boolean().describe('Holds the same statements as the node that answers.'),
        joinedAt: z.iso.datetime().nullable().describe('ISO 8601; null in a static cluster.'),
      }),
    ),
  }),
)

const cluster = describes<ClusterData>()(
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

const config = describes<ConfigData>()(
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

const history = describes<ConfigHistoryData>()(
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

const events = describes<EventsData>()(
  z.object({
    last: count.describe('Number of the newest event; ask for what comes after it.'),
    missed: z.boolean().describe('Events after the one asked for are not here.'),
    events: z.array(
      z.object({
        sequence: count.describe('Counts from 1 since the agent started.'),
        time,
        kind: z
          .enum([
            'agent.up',
            'agent.down',
            'agent.draining',
            'node.alive',
            'node.suspect',
            'node.dead',
            'member.joined',
            'member.left',
            'member.evicted',
            'member.roles',
            'directive.ordered',
            'directive.settled',
            'directive.followed',
            'app.health',
            'app.lost',
            'app.back',
            'group.leader',
            'member.conflict',
            'config.applied',
            'config.lost',
            'config.failed',
            'keys.rotated',
            'token.issued',
            'token.used',
            'statement.refused',
            'agent.started',
            'agent.adopted',
            'agent.stopping',
            'state.unsaved',
            'state.saved',
          ])
          .describe('More kinds may come.'),
        severity: z.enum(['info', 'warning', 'error']),
        subject: text.describe("The node that it is about; '-' for the whole cluster."),
        text,
      }),
    ),
  }),
)

const submit = describes<SubmitData>()(z.object({ accepted: count, known: count.describe('Held already.') }))
const done = z.object({})

const whoami = describes<WhoamiData>()(
  z.object({
    pid: count.describe('Of the process that connected, as the kernel says.'),
    uid: count,
    gid: count,
    sameNetwork: z
      .boolean()
      .describe('False for a process of another network namespace, and when listeners is null.'),
    truncated: z.boolean().describe('It has more sockets or descriptors than are looked at.'),
    listeners: z
      .array(
        z.object({
          protocol: z.enum(['tcp', 'udp']),
          address: text,
          port: z.int().min(0).max(65_535),
          services: z.array(text).describe('Of this node, that the socket serves.'),
        }),
      )
      .nullable()
      .describe("null when the agent may not look at the process (CAP_SYS_PTRACE, for other users')."),
  }),
)

const report = describes<ReportData>()(
  z.object({ services: z.array(text).describe('For which the report was taken.') }),
)

/** By the `schema` of an answer. */
export const ANSWER_DATA = {
  'shunt.status/1': status,
  'shunt.hosts/1': hosts,
  'shunt.vips/1': vips,
  'shunt.flows/1': flows,
  'shunt.drops/1': drops,
  'shunt.trace/1': trace,
  'shunt.atoms/1': atoms,
  'shunt.capture/1': capture,
  'shunt.nodes/1': nodes,
  'shunt.cluster/1': cluster,
  'shunt.config/1': config,
  'shunt.config-history/1': history,
  'shunt.events/1': events,
  'shunt.health/1': health,
  'shunt.apps/1': apps,
  'shunt.submit/1': submit,
  'shunt.token/1': done,
  'shunt.leave/1': done,
  'shunt.whoami/1': whoami,
  'shunt.report/1': report,
} as const

/** An answer whose data has the schema of this name. */
export const envelopeOf = (schema: keyof typeof ANSWER_DATA) =>
  z.object({
    schema: z.literal(schema),
    node: text.describe('Name of the node that answers.'),
    time,
    data: ANSWER_DATA[schema],
  })

export const errorEnvelope = z
  .object({
    schema: z.literal('shunt.error/1'),
    error: z.object({ code: text.describe('Stable; more may come.'), message: text }),
  })
  .describe('Every answer that is not 200.')
