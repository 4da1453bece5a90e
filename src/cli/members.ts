/** Finds the node that an operator means. */
import { didYouMean } from '../config/suggest.ts'
import type { NodeRow, NodesData } from '../control/types.ts'
import { ShuntError } from '../errors.ts'

/**
 * By name or peer id.
 * @throws ShuntError SHUNT_ERR_USAGE
 */
export const memberNamed = (data: NodesData, text: string): NodeRow => {
  const found = data.nodes.find(node => node.name === text || node.id === text)
  if (found !== undefined) return found
  const names = data.nodes.map(node => node.name)
  throw new ShuntError(
    'SHUNT_ERR_USAGE',
    `there is no node ${text}${didYouMean(text, names)}; shunt nodes lists them`,
  )
}
