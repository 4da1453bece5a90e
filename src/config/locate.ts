/** Positions of values and keys in a parsed YAML document. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type LineCounter,
  type Node,
  type Pair,
  type YAMLMap,
} from 'yaml'
import type { Path } from './problems.ts'

export interface Position {
  line: number
  column: number
}

/** A mapping may have thousands of keys, and an error at each. */
const indexed = new WeakMap<YAMLMap, Map<string, Pair>>()
const pairsOf = (map: YAMLMap): Map<string, Pair> => {
  let pairs = indexed.get(map)
  if (pairs === undefined) {
    pairs = new Map(map.items.map(item => [String(isScalar(item.key) ? item.key.value : item.key), item]))
    indexed.set(map, pairs)
  }
  return pairs
}

const resolve = (node: unknown, doc: Document): unknown => (isAlias(node) ? node.resolve(doc) : node)

/**
 * Where the value at `path` stands (or its key, with `at: 'key'`). A value that is missing has the position
 * of what should contain it. Line and column count from 1.
 */
export const locate = (
  doc: Document,
  lines: LineCounter,
  path: Path,
  at: 'key' | 'value' = 'value',
): Position => {
  let node: unknown = doc.contents
  let found: Node | null = isNode(node) ? node : null
  for (const [depth, part] of path.entries()) {
    node = resolve(node, doc)
    if (isMap(node)) {
      const pair = pairsOf(node).get(String(part))
      if (pair === undefined) break
      const last = depth === path.length - 1
      const value = isNode(pair.value) && pair.value.range ? pair.value : null
      const key = isNode(pair.key) ? pair.key : null
      found = ((last && at === 'key') || value === null ? key : value) ?? found
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(part)]
      if (isNode(node)) found = node
    } else break
  }
  const { line, col } = lines.linePos(found?.range?.[0] ?? 0)
  return { line: Math.max(line, 1), column: Math.max(col, 1) }
}
