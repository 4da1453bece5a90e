/** Part of answer-schemas.ts: what `shunt events` is answered. */
import { z } from 'zod'
import { count, describes, text, time } from './describes.ts'
import type { EventsData } from './types.ts'

export const events = describes<EventsData>()(
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
            'vip.held',
            'vip.released',
            'vip.moved',
          ])
          .describe('More kinds may come.'),
        severity: z.enum(['info', 'warning', 'error']),
        subject: text.describe("The node that it is about; '-' for the whole cluster."),
        text,
      }),
    ),
  }),
)
