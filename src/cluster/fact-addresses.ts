/** The addresses among a node's facts. Pure. */
import type { NodeFacts } from './types.ts'

type Addresses = Pick<NodeFacts, 'address' | 'tunnel' | 'address6' | 'tunnel6'>

/** All of them: each is one node's alone. */
export const addressesOf = ({ address, tunnel, address6, tunnel6 }: Addresses): string[] =>
  [address, tunnel, address6, tunnel6].filter(ip => ip !== undefined)

/** Those that a node may have or not; what is not there is left out, so that a statement of earlier versions stays what it was. */
export const moreAddresses = (facts: {
  readonly tunnel?: string | undefined
  readonly address6?: string | undefined
  readonly tunnel6?: string | undefined
}): Pick<NodeFacts, 'tunnel' | 'address6' | 'tunnel6'> => {
  const { tunnel, address6, tunnel6 } = facts
  return {
    ...(tunnel !== undefined && { tunnel }),
    ...(address6 !== undefined && { address6 }),
    ...(tunnel6 !== undefined && { tunnel6 }),
  }
}

export const sameAddresses = (a: Addresses, b: Addresses): boolean =>
  a.address === b.address && a.tunnel === b.tunnel && a.address6 === b.address6 && a.tunnel6 === b.tunnel6
