/** What the rows of `shunt vips` say of holders and classifiers. Pure. */
import type { NodeConfig } from '../config/schema.ts'
import type { NodeState, VipStatus } from '../control/types.ts'

type StateOf = (name: string) => NodeState
type Service = Pick<NodeConfig['services'][number], 'vip' | 'announce'>
interface Holders {
  holderOf(vip: string): string | null
  isOrdered(vip: string): boolean
}

export const holding = (
  { announce, vip }: Service,
  vips: Holders,
  stateOf: StateOf,
): Pick<VipStatus, 'holder' | 'ordered' | 'unattended'> => {
  if (announce !== 'arp') return { holder: null, ordered: false, unattended: false }
  const holder = vips.holderOf(vip)
  const unattended = holder !== null && stateOf(holder) === 'dead'
  return { holder, ordered: vips.isOrdered(vip), unattended }
}

/** Nodes that choose hosts for new connections; one that has just begun to be connected to may be there. */
export const classifiersThere = (
  { node, roles, peers }: { node: { name: string } } & Pick<NodeConfig, 'roles' | 'peers'>,
  stateOf: StateOf,
): number =>
  [{ name: node.name, roles }, ...peers].filter(
    each => each.roles.includes('classifier') && stateOf(each.name) !== 'dead',
  ).length
