/**
 * Bodies of the orders (POST) of the control API, strictly: a misspelt field is no silent default. The shape of
 * statements and tokens is that of src/cluster, so that nothing is taken here which is refused there.
 */
import { z } from 'zod'
import { statementShape, tokenShape } from '../cluster/statement-shape.ts'
import type { FailoverBody, Order, SubmitBody, TokenRegistration } from './types.ts'

const KEY = /^(?:[A-Za-z0-9+/]{43}=|[A-Za-z0-9_-]{43})$/

export const submitBody = z
  .strictObject({
    statements: z.array(statementShape).min(1).max(64).describe('Taken all or none.'),
  })
  .describe("An operator's statements.") satisfies z.ZodType<SubmitBody>

export const tokenRegistration = z
  .strictObject({
    cluster: z.string().regex(KEY).describe("The operator's public key, base64url: the id of the cluster."),
    body: tokenShape,
    signature: z.string().max(88).describe("The operator's, of the token's body; 64 bytes in base64."),
    secret: z.string().regex(KEY).describe('What the one who joins must know, 32 bytes in base64.'),
  })
  .describe('A token that machines may join with at this node.') satisfies z.ZodType<TokenRegistration>

export const leaveBody = z.strictObject({}).describe('Nothing: an empty object.')

export const failoverBody = z
  .strictObject({
    vip: z.union([z.ipv4(), z.ipv6()]).describe('A virtual IP that is announced by ARP.'),
    to: z
      .string()
      .regex(/^[a-z0-9-]{1,63}$/)
      .optional()
      .describe('Name of a forwarder; left out: the one that would take it if its holder died.'),
    release: z
      .boolean()
      .optional()
      .describe('The virtual IP stays where it is, and no order keeps it there any more; without to.'),
  })
  .refine(({ to, release }) => to === undefined || !release, { message: 'to and release exclude each other' })
  .describe('A virtual IP and where it is wanted.') satisfies z.ZodType<FailoverBody>

export const ORDER_BODIES = {
  statements: submitBody,
  tokens: tokenRegistration,
  leave: leaveBody,
  failover: failoverBody,
} as const satisfies Record<Order, z.ZodType>
