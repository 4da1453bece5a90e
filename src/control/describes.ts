/** What the schemas of answers are made with. */
import { z } from 'zod'

/** Of both directions: neither has a field that the other lacks. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
export const describes =
  <T>() =>
  <S extends z.ZodType>(schema: S & (Same<z.output<S>, T> extends true ? unknown : never)): S =>
    schema

export const text = z.string()
export const count = z.int().min(0)
export const ms = z.number().min(0)
export const time = z.iso.datetime().describe('ISO 8601, UTC.')
/** Of an agent, by its heartbeats. */
export const liveness = z.enum(['alive', 'dead', 'connecting'])

export const rates = z
  .object({
    packets: ms.describe('Packets that the kernel merged count once.'),
    bytes: ms.describe('Of IP packets.'),
    connections: ms.nullable().describe('New ones; null where the node is no forwarder.'),
  })
  .nullable()
  .describe('A second, over the last five; null where the node does not count it, or not yet.')
