/** Networks that are cut in the middle: in the switch, so that the nodes know nothing of it. */
import type { Lab } from '../../../src/lab/lab.ts'
import { inside, macsOf } from './topology.ts'

const TABLE = 'parts'

const port = (node: string): string => `to-${node}`

/** What one of `left` sends reaches none of `right`, and the other way round. @returns what heals it */
export const partHalves = async (
  lab: Lab,
  left: readonly string[],
  right: readonly string[],
): Promise<{ cut(): Promise<void>; heal(): Promise<void> }> => {
  const macs = await macsOf(lab, [...left, ...right])
  const chain = (node: string, others: readonly string[]): string =>
    `chain ${port(node)} {
      type filter hook egress device "${port(node)}" priority 0;
      ether saddr { ${others.map(other => macs.get(other)!).join(', ')} } drop;
    }`
  const chains = [...left.map(node => chain(node, right)), ...right.map(node => chain(node, left))]
  const netns = lab.netns('switch')
  return {
    cut: () =>
      inside(netns, ['nft', '-f', '-'], `table netdev ${TABLE} {\n${chains.join('\n')}\n}\n`).then(() => {}),
    heal: () => inside(netns, ['nft', 'delete', 'table', 'netdev', TABLE]).then(() => {}),
  }
}
