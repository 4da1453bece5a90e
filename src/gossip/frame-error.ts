import { ShuntError } from '../errors.ts'

/** Throws SHUNT_ERR_FRAME. */
export const badFrame = (what: string): never => {
  throw new ShuntError('SHUNT_ERR_FRAME', `${what}; the peer runs something else, or is hostile`)
}
