/** Part of answer-schemas.ts: what `shunt atoms` is answered. */
import { z } from 'zod'
import { count, describes, ms, text } from './describes.ts'
import type { AtomsData } from './types.ts'

const copies = z.union([count, z.literal('full')])

export const atoms = describes<AtomsData>()(
  z.object({
    incarnation: count
      .nullable()
      .describe(
        'Raised at each start with an empty table; null: the node is neither forwarder nor classifier.',
      ),
    settled: z
      .boolean()
      .nullable()
      .describe(
        'Every copy that services ask for is where it should be. false: copies move, or there are too few members for them; null: the node is neither forwarder nor classifier.',
      ),
    moving: z.boolean().describe('Copies are on their way to where the members of now want them.'),
    members: z.array(
      z.object({
        name: text,
        self: z.boolean(),
        incarnation: count,
        leaving: z.boolean().describe('It hands over what it has.'),
        linked: z.boolean().describe('It can be asked now.'),
      }),
    ),
    used: count,
    capacity: count,
    bytes: count.describe('Memory of a full table; it is taken as atoms come.'),
    places: z
      .object({ own: count, copies: count, cached: count, ended: count })
      .describe(
        'Why atoms are here: this node answers for them, keeps them for others, looked them up, or they have ended lately.',
      ),
    evicted: count,
    unsure: count.describe('Taken over from lost members; their hosts are to be asked again.'),
    services: z.array(
      z.object({
        service: text,
        wanted: z.union([copies, z.literal('none')]).describe('Copies of each besides its owner.'),
        possible: count.describe('Copies of each that the other members there are can keep.'),
        own: count,
        copies: count,
      }),
    ),
    counters: z.record(text, z.number()),
    atom: z
      .object({
        place: z.enum(['own', 'copy', 'cached', 'ended']),
        host: text.nullable(),
        owner: text.describe('The member that answers for it.'),
        home: text.describe('Whose it was before others took it over.'),
        generation: count,
        wanted: copies,
        ageMs: ms.describe('Of this version.'),
        idleMs: ms.describe('Since it was last in use here, or came.'),
        ended: z.boolean(),
      })
      .nullable()
      .describe('Of the connection that was asked for; null: nothing is known of it here.'),
  }),
)
