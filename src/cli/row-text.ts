/** Fields of nodes and hosts in a few words, for tables. An agent of an earlier version does not say all of it. Pure. */
import type { HostStatus, NodeRow, VipStatus } from '../control/types.ts'

type Roles = Pick<NodeRow, 'roles'> & Partial<Pick<NodeRow, 'retiring'>>

/** Such as `classifier,host (drains)`; '' for none. `name` may shorten a role. */
export const rolesText = (
  { roles, retiring = [] }: Roles,
  separator = ',',
  name: (role: string) => string = role => role,
): string => [...roles.map(name), ...retiring.map(role => `${name(role)} (drains)`)].join(separator)

type Held = Roles & Partial<Pick<NodeRow, 'vips'>>

/** How many virtual IPs it holds; null: not known to the node that answers, or this one can hold none. */
export const vipsHeld = ({ roles, retiring = [], vips = null }: Held): number | null =>
  vips === null || (vips.length === 0 && ![...roles, ...retiring].includes('forwarder')) ? null : vips.length

type Holder = Pick<VipStatus, 'holder' | 'ordered'> & Partial<Pick<VipStatus, 'announce'>>

/** Who answers for a virtual IP, `routed`, or null: not known, or nobody. */
export const holderText = ({ announce, holder, ordered }: Holder): string | null => {
  if (announce !== 'arp') return announce ?? null
  return holder !== null && ordered ? `${holder} (ordered)` : holder
}

type Capacities = Pick<HostStatus, 'capacity'> & Partial<Pick<HostStatus, 'capacities'>>

/** One number when it is the same in all its services, else `web 20, api 50`. */
export const capacityText = ({ capacity, capacities = [] }: Capacities): string | number =>
  capacities.every(each => each.capacity === capacity)
    ? capacity
    : capacities.map(each => `${each.service} ${each.capacity}`).join(', ')
