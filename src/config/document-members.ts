/** What a cluster document says that does not fit the members of the moment. Pure. */
import type { Problem } from './checks.ts'
import type { ClusterDocument } from './document.ts'
import type { Role } from './schema.ts'
import { didYouMean } from './suggest.ts'

/** The parts of a member that matter here. */
export interface DocumentMember {
  readonly name: string
  readonly address: string
  readonly tunnel?: string | null | undefined
  readonly roles: readonly string[]
}

/**
 * What is wrong with these members: a virtual IP that is an address of a node, whose control links and tunnels would
 * end at whoever takes the virtual IP.
 */
export const documentProblems = (doc: ClusterDocument, members: readonly DocumentMember[]): Problem[] => {
  const owners = new Map<string, string>()
  for (const { name, address, tunnel } of members) {
    owners.set(address, `the address of ${name}`)
    if (tunnel !== undefined && tunnel !== null) owners.set(tunnel, `the tunnel address of ${name}`)
  }
  return doc.services.flatMap((service, i) => {
    const owner = owners.get(service.vip)
    return owner === undefined
      ? []
      : [
          {
            path: ['services', i, 'vip'],
            message: `${service.vip} is ${owner}; a virtual IP must be its own`,
          },
        ]
  })
}

/** More than these are only counted: a document can have thousands. */
const MAX_WARNINGS = 50

/** Sentences about what is not wrong but worth knowing: the rest works, and a host may join or get its role later. */
export const documentWarnings = (doc: ClusterDocument, members: readonly DocumentMember[]): string[] => {
  const byName = new Map(members.map(m => [m.name, m]))
  const hostRole: Role = 'host'
  const hosts = new Set(members.filter(m => m.roles.includes(hostRole)).map(m => m.name))
  const names = [...hosts]
  const warnings: string[] = []
  let more = 0
  const add = (warning: () => string): void => {
    if (warnings.length < MAX_WARNINGS) warnings.push(warning())
    else more++
  }
  const used = new Set(doc.services.map(s => s.pool))
  for (const pool of doc.pools) {
    for (const { name } of pool.hosts) {
      const member = byName.get(name)
      if (member === undefined)
        add(() => `host ${name} of pool ${pool.name} is no member of the cluster${didYouMean(name, names)}`)
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
