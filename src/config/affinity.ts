/** Client-address affinity of a service (R-C2, R-C7). */
import { z } from 'zod'
import { milliseconds, whole } from './fields.ts'

const MOST_MS = 7 * 24 * 3_600_000

export const affinity = z
  .strictObject({
    by: z.literal('client-address').describe('What sessions are known by: the address of the client.'),
    prefix: whole(
      1,
      32,
      'Leading bits of an IPv4 address that make a client; with less than 32, clients of one network go to one host.',
    ).default(32),
    prefix6: whole(
      1,
      128,
      'The same of an IPv6 address. A client may have many addresses in its /64.',
    ).default(64),
    timeout: milliseconds(
      10_000,
      MOST_MS,
      'How long a client keeps its host after the last use of a connection, to within a few seconds',
    ).default(600_000),
    overload: whole(
      1,
      100,
      "Load of a host, in percent, from which new connections of its clients go to another one, as long as that has less. Left out: only when the host takes no new connections at all; see the cluster's overload.",
    ).optional(),
  })
  .optional()
  .describe(
    'All connections of a client go to the host that has its first one, whatever the shares, as long as that host takes new connections. First packets of such a service are classified by the agent, not in the kernel: while the agent is away, new connections of it wait, and established ones go on. Default: every connection goes by itself.',
  )

export type AffinityConfig = NonNullable<z.output<typeof affinity>>
