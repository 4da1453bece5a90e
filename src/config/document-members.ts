/** What a cluster document says that does not fit the members of the moment. Pure. */

import type { ClusterDocument } from './document.ts'
import { type Ipv6Lack, ipv6Lacks } from './ipv6-needs.ts'
import type { Problem } from './problems.ts'
import type { Role } from './schema.ts'
import { didYouMean } from './suggest.ts'

/** The parts of a member that matter here. */
export interface DocumentMember {
  readonly name: string
  readonly address: string
  readonly tunnel?: string | null | undefined
  readonly address6?: string | null | undefined
  readonly tunnel6?: string | null | undefined
  readonly roles: readonly string[]
}

/**
 * What is wrong with these members: a virtual IP that is an address of a node, whose control links and tunnels would
 * end at whoever takes the virtual IP; one of IPv6 that some of them could not carry.
 */
export const documentProblems = (doc: ClusterDocument, members: readonly DocumentMember[]): Problem[] => {
  const owners = new Map<string, string>()
  for (const { name, address, tunnel, address6, tunnel6 } of members) {
    for (const ip of [address, address6]) if (ip) owners.set(ip, `the address of ${name}`)
    for (const ip of [tunnel, tunnel6]) if (ip) owners.set(ip, `the tunnel address of ${name}`)
  }
  const pools = new Map(doc.pools.map(pool => [pool.name, pool.hosts.map(({ name }) => name)]))
  return doc.services.flatMap((service, i) => {
    const path = ['services', i, 'vip']
    const owner = owners.get(service.vip)
    const lacks = ipv6Lacks(service.vip, pools.get(service.pool) ?? [], members)
    return [
      ...(owner === undefined
        ? []
        : [{ path, message: `${service.vip} is ${owner}; a virtual IP must be its own` }]),
      ...(lacks.length === 0 ? [] : [{ path, message: lackText(service.vip, lacks) }]),
    ]
  })
}

const lackText = (vip: string, lacks: readonly Ipv6Lack[]): string => {
  const of = (role: Ipv6Lack['role'], what: string): string[] => {
    const names = lacks.filter(lack => lack.role === role).map(({ name }) => name)
    return names.length === 0 ? [] : [`${names.join(', ')} ${names.length === 1 ? 'has' : 'have'} no ${what}`]
  }
  const missing = [
    ...of('host', 'IPv6 address in the cluster (--address6 of shunt join)'),
    ...of('forwarder', 'IPv6 tunnel address (--tunnel6 of shunt join)'),
  ]
  return `${vip} is of IPv6, but ${missing.join('; ')}: let them leave and join again with one, or take hosts out of the pool`
}

const tooManyCopies = (service: string, copies: number, units: number): string =>
  `${service} asks for ${copies} ${copies === 1 ? 'copy' : 'copies'} (sessions.copies); with ${units} ${units === 1 ? 'forwarder or classifier' : 'forwarders and classifiers'} there can be ${units - 1}`

/** More than these are only counted: a document can have thousands. */
const MAX_WARNINGS = 50

/** Sentences about what is not wrong but worth knowing: the rest works, and a host may join or get its role later. */
export const documentWarnings = (doc: ClusterDocument, members: readonly DocumentMember[]): string[] => {
  const byName = new Map(members.map(m => [m.name, m]))
  const [hostRole, forwarder, classifier]: Role[] = ['host', 'forwarder', 'classifier']
  const hosts = new Set(members.filter(m => m.roles.includes(hostRole)).map(m => m.name))
  const warnings: string[] = []
  let more = 0
  const add = (warning: () => string): void => {
    if (warnings.length < MAX_WARNINGS) warnings.push(warning())
    else more++
  }
  const units = members.filter(m => m.roles.includes(forwarder) || m.roles.includes(classifier)).length
  for (const { name, sessions } of doc.services) {
    const copies = sessions?.copies
    if (typeof copies === 'number' && copies > 0 && units > 0 && copies > units - 1)
      add(() => tooManyCopies(name, copies, units))
  }
  const used = new Set(doc.services.map(s => s.pool))
  for (const pool of doc.pools) {
    const there = new Set(pool.hosts.map(({ name }) => name))
    const others = [...hosts].filter(name => !there.has(name))
    for (const { name } of pool.hosts) {
      const member = byName.get(name)
      if (member === undefined)
        add(() => `host ${name} of pool ${pool.name} is no member of the cluster${didYouMean(name, others)}`)
      else if (!hosts.has(name))
        add(
          () =>
            `${name} of pool ${pool.name} does not have the role host; shunt roles ${name} +host gives it`,
        )
    }
    if (!used.has(pool.name)) add(() => `no service uses the pool ${pool.name}`)
    else if (!pool.hosts.some(h => hosts.has(h.name)))
      add(() => `no host of the pool ${pool.name} can take connections`)
    else if (pool.hosts.every(h => h.capacity === 0))
      add(() => `every host of the pool ${pool.name} has capacity 0: it takes no new connections`)
  }
  return more === 0 ? warnings : [...warnings, `and ${more} more warnings`]
}
