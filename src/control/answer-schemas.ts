/**
 * What the control API answers, for its OpenAPI document; the compiler compares each with the type that the agent and the
 * commands use. Open to additions: readers must not mind fields that they do not know.
 */
import { z } from 'zod'
import { report, whoami } from './answer-schemas-app-socket.ts'
import { atoms } from './answer-schemas-atoms.ts'
import { cluster, config, history, nodes, submit } from './answer-schemas-cluster.ts'
import { events } from './answer-schemas-events.ts'
import { apps, health } from './answer-schemas-health.ts'
import { status } from './answer-schemas-status.ts'
import { capture, trace } from './answer-schemas-trace.ts'
import { drops, failover, flows, hosts, vips } from './answer-schemas-traffic.ts'
import { text, time } from './describes.ts'

const done = z.object({})

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
  'shunt.failover/1': failover,
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
