/** Orders (POST) as the view takes them. What they mean is the view's to check. */
import { shapeFault } from '../cluster/statement-shape.ts'
import { ShuntError } from '../errors.ts'
import { ORDER_BODIES } from './schemas.ts'
import type { FailoverBody, Order, SubmitBody, TokenRegistration } from './types.ts'

export type ParsedOrder =
  | { order: 'statements'; body: SubmitBody }
  | { order: 'tokens'; body: TokenRegistration }
  | { order: 'leave' }
  | { order: 'failover'; body: FailoverBody }

/** A message may repeat a key of the body. */
const MAX_FAULT = 500

/** @throws ShuntError SHUNT_ERR_STATEMENT that names the first field that is wrong */
export const parseOrder = (order: Order, body: unknown): ParsedOrder => {
  const fault = shapeFault(ORDER_BODIES[order], body)?.slice(0, MAX_FAULT)
  if (fault !== undefined)
    throw new ShuntError(
      'SHUNT_ERR_STATEMENT',
      `this is no body for /v1/${order}: ${fault}; is the command of another version than the agent?`,
    )
  return { order, body } as ParsedOrder
}
