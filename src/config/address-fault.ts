/** IPv4 addresses that neither a virtual IP nor a node can have. Pure. */

/** Why other machines cannot reach this address, or undefined. `ip`: a dotted IPv4 address. */
export const addressFault = (ip: string): string | undefined => {
  const [first, second] = ip.split('.').map(Number)
  if (first === 127) return 'is a loopback address, which other machines cannot reach'
  if (first === 169 && second === 254) return 'is a link-local address, which no router carries'
  return first === 0 || first! >= 224 ? 'is not a unicast address' : undefined
}
