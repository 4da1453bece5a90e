/** Fields of nodes and hosts in a few words, for tables. An agent of an earlier version does not say all of it. Pure. */
import type { HostStatus, NodeRow } from '../control/types.ts'

type Roles = Pick<NodeRow, 'roles'> & Partial<Pick<NodeRow, 'retiring'>>

/** Such as `classifier,host (drains)`; '' for none. `name` may shorten a role. */
export const rolesText = (
  { roles, retiring = [] }: Roles,
  separator = ',',
  name: (role: string) => string = role => role,
): string => [...roles.map(name), ...retiring.map(role => `${name(role)} (drains)`)].join(separator)

type Capacities = Pick<HostStatus, 'capacity'> & Partial<Pick<HostStatus, 'capacities'>>

/** One number when it is the same in all its services, else `web 20, api 50`. */
export const capacityText = ({ capacity, capacities = [] }: Capacities): string | number =>
  capacities.every(each => each.capacity === capacity)
    ? capacity
    : capacities.map(each => `${each.service} ${each.capacity}`).join(', ')
