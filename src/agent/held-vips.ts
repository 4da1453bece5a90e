/** Which VIPs a host's connections still use, once no service of the document needs them there. */
import { countingAlive } from '../os/netlink/sock-diag.ts'
import { finish } from './health/own-connections.ts'

/**
 * Of these VIPs, those in use. Mappings tell of connections that come tunnelled; what comes in full encapsulation (R-A4) has none, so then the
 * sockets are asked too. UDP in full encapsulation leaves no trace: its VIP goes at once.
 * @param mapped mappings by VIP
 * @param encapsulated some service is delivered so, or was
 * @param ports of all services
 */
export const vipsInUse = async (
  vips: ReadonlySet<string>,
  mapped: Readonly<Record<string, number>>,
  encapsulated: boolean,
  ports: ReadonlySet<number>,
  counting: (ports: ReadonlySet<number>) => Generator<void, ReadonlyMap<string, number>> = countingAlive,
): Promise<Set<string>> => {
  const used = new Set([...vips].filter(vip => (mapped[vip] ?? 0) > 0))
  if (!encapsulated || used.size === vips.size) return used
  const ends = await finish(() => counting(ports))
  // Not to be known: better a VIP too long than a connection broken.
  if (ends === null) return new Set(vips)
  for (const end of ends.keys()) {
    const address = end.slice(0, end.lastIndexOf(':'))
    if (vips.has(address)) used.add(address)
  }
  return used
}
