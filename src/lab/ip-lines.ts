/** A plan as input of `ip -batch`. Pure. */
import type { PlacePlan } from './topology.ts'

/** `ip -batch` lines that make the bridges and cables of a place, inside its namespace. */
export const linkLines = (place: PlacePlan, mtu = 1500): string[] =>
  place.links.flatMap(link =>
    link.kind === 'bridge'
      ? // No spanning tree and no snooping: a rack switch that forwards from the first frame on.
        [
          `link add ${link.device} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
          `link set ${link.device} up`,
        ]
      : [
          `link add ${link.device} mtu ${mtu} type veth peer name ${link.peerDevice} mtu ${mtu} netns ${link.peerNetns}`,
          `link set ${link.device} master ${link.bridge} up`,
        ],
  )

/** `ip -batch` lines that bring a place up once its cables are there. */
export const addressLines = (place: PlacePlan): string[] => [
  'link set lo up',
  ...(place.kind === 'switch' ? [] : ['link set eth0 up']),
  ...place.addresses.map(
    ([device, cidr]) => `addr add ${cidr} dev ${device}${cidr.includes(':') ? ' nodad' : ''}`,
  ),
  ...place.routes.map(route => `route add ${route}`),
]
