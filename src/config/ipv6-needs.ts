/** What the nodes of a cluster lack to carry a service of IPv6: a tunnelled packet keeps its family. Pure. */

export interface Ipv6Node {
  readonly name: string
  readonly roles: readonly string[]
  readonly address6?: string | null | undefined
  readonly tunnel6?: string | null | undefined
}

export interface Ipv6Lack {
  readonly name: string
  readonly role: 'host' | 'forwarder'
  readonly field: 'address6' | 'tunnel6'
}

export const isIpv6Vip = (vip: string): boolean => vip.includes(':')

/**
 * Of the hosts of a service, an address to which packets can be tunnelled; of every forwarder, one from which. Nothing of an IPv4 service.
 * @param hosts names; those that are no nodes, or no hosts yet, are somebody else's matter
 */
export const ipv6Lacks = (vip: string, hosts: Iterable<string>, nodes: readonly Ipv6Node[]): Ipv6Lack[] => {
  if (!isIpv6Vip(vip)) return []
  const pool = new Set(hosts)
  return nodes.flatMap(({ name, roles, address6, tunnel6 }): Ipv6Lack[] => [
    ...(pool.has(name) && roles.includes('host') && !address6
      ? [{ name, role: 'host', field: 'address6' } as const]
      : []),
    ...(roles.includes('forwarder') && !tunnel6
      ? [{ name, role: 'forwarder', field: 'tunnel6' } as const]
      : []),
  ])
}
