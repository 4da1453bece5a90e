/** How VIPs are announced (R-A6). Pure. */

import type { Announce } from './fields.ts'
import type { Problem } from './problems.ts'

export const DEFAULT_VIP_WEIGHT = 50

interface Announced {
  readonly vip: string
  readonly announce?: Announce | undefined
}

/** The VIPs that one forwarder holds. */
export const arpVips = (services: readonly Announced[]): string[] => [
  ...new Set(services.filter(({ announce }) => announce === 'arp').map(({ vip }) => vip)),
]

/** A VIP has one holder or none, whatever its ports are. Of what is undefined nothing is known. */
export const announceProblems = (services: readonly (Announced | undefined)[]): Problem[] => {
  const first = new Map<string, { announce: Announce; at: number }>()
  return services.flatMap((service, i): Problem[] => {
    if (service === undefined) return []
    const { vip, announce = 'routed' } = service
    const known = first.get(vip)
    if (known === undefined) first.set(vip, { announce, at: i })
    if (known === undefined || known.announce === announce) return []
    return [
      {
        path: ['services', i, 'announce'],
        message: `is ${announce}, but services[${known.at}] has the same virtual IP ${vip} and is ${known.announce}; give all services of a virtual IP the same`,
      },
    ]
  })
}
