/** Facts of a node that asks to join: the shape, and what stands against them in a cluster. Pure. */
import { z } from 'zod'
import { addressFault } from '../config/address-fault.ts'
import { isIpv6Vip } from '../config/ipv6-needs.ts'
import { ROLES } from '../config/schema.ts'
import { addressesOf, sameAddresses } from './fact-addresses.ts'
import type { ClusterView, NodeFacts, TokenBody } from './types.ts'

const faultless = (context: z.core.ParsePayload<string>): void => {
  const fault = addressFault(context.value)
  if (fault !== undefined) context.issues.push({ code: 'custom', message: fault, input: context.value })
}
const address = z.ipv4().check(faultless)
const address6 = z.ipv6().check(faultless)

export const factsShape: z.ZodType<NodeFacts> = z
  .strictObject({
    id: z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/, { error: 'must be a peer id' }),
    name: z.string().regex(/^[a-z0-9-]{1,63}$/, { error: 'must be 1 to 63 of a-z, 0-9 and -' }),
    address,
    tunnel: address.optional(),
    address6: address6.optional(),
    tunnel6: address6.optional(),
    roles: z.array(z.enum(ROLES)).min(1).max(ROLES.length),
  })
  .refine(facts => new Set(facts.roles).size === facts.roles.length, { error: 'roles must name a role once' })
  .refine(facts => facts.tunnel !== facts.address, { error: 'tunnel and address must differ' })
  .refine(facts => !facts.roles.includes('forwarder') || facts.tunnel !== undefined, {
    error: 'the role forwarder needs a tunnel address (--tunnel)',
  })
  .refine(facts => facts.tunnel6 === undefined || facts.address6 !== undefined, {
    error: 'an IPv6 tunnel address (--tunnel6) needs an IPv6 address (--address6)',
  })
  .refine(facts => facts.tunnel6 === undefined || facts.tunnel6 !== facts.address6, {
    error: 'tunnel6 and address6 must differ',
  })

/** Why these facts are none, or undefined. */
export const factsFault = (facts: NodeFacts): string | undefined => {
  const issue = factsShape.safeParse(facts).error?.issues[0]
  if (issue === undefined) return undefined
  return issue.path.length === 0 ? issue.message : `${issue.path.map(String).join('.')} ${issue.message}`
}

const sameFacts = (a: NodeFacts, b: NodeFacts): boolean =>
  a.id === b.id && a.name === b.name && sameAddresses(a, b)

/** Why a node cannot be a forwarder of this cluster's services, or undefined: clients' packets come to every forwarder alike. */
export const forwarder6Fault = (
  { document }: Pick<ClusterView, 'document'>,
  { name, tunnel6 }: Pick<NodeFacts, 'name' | 'tunnel6'>,
): string | undefined => {
  const service = document?.services.find(({ vip }) => isIpv6Vip(vip))
  return service === undefined || tunnel6 !== undefined
    ? undefined
    : `the service ${service.name} is of IPv6, which ${name} without an IPv6 tunnel address could not carry as a forwarder: join with --address6 and --tunnel6, or without the role forwarder`
}

export type Standing =
  /** Asks again, or lost its state: it is told what there is, and needs no place. */
  { kind: 'member' } | { kind: 'free' } | { kind: 'refused'; why: string }

/** How a node that asks to join stands to the cluster and the token. Its roles count only where it is new. */
export const standingOf = (view: ClusterView, token: TokenBody, facts: NodeFacts): Standing => {
  const refused = (why: string): Standing => ({ kind: 'refused', why })
  const member = view.members.find(m => m.id === facts.id)
  if (member !== undefined)
    return sameFacts(member, facts)
      ? { kind: 'member' }
      : refused(
          `${facts.id} is a member already, as ${member.name} at ${member.address}; join with the same name and addresses, or with a new identity`,
        )
  const gone = view.departed.find(d => d.id === facts.id)
  if (gone !== undefined)
    return refused(
      `the identity ${facts.id} ${gone.reason === 'left' ? 'has left the cluster' : 'was evicted'}, which is for ever: its machine comes back as a new node, with shunt join --anew`,
    )
  const beyond = facts.roles.filter(role => !token.roles.includes(role))
  if (beyond.length > 0)
    return refused(`the token allows the roles ${token.roles.join(', ')}, not ${beyond.join(', ')}`)
  const claims = addressesOf(facts)
  for (const other of view.members) {
    if (other.name === facts.name)
      return refused(`the name ${facts.name} is taken (by ${other.address}); give another --name`)
    for (const claim of claims)
      if (addressesOf(other).includes(claim))
        return refused(`the address ${claim} is that of ${other.name}; give another`)
  }
  const lacks = facts.roles.includes('forwarder') ? forwarder6Fault(view, facts) : undefined
  if (lacks !== undefined) return refused(lacks)
  const service = view.document?.services.find(s => claims.includes(s.vip))
  if (service !== undefined)
    return refused(
      `the address ${service.vip} is the virtual IP of the service ${service.name}; give another`,
    )
  return { kind: 'free' }
}
