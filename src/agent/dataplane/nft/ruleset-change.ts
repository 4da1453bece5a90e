import { type ChainPart, describeRuleset, renderChain, renderSet, tableName } from './ruleset.ts'
import type { RulesetPlan } from './ruleset-plan.ts'

/**
 * The nft commands that make the table of `before` that of `after`: one transaction, so a packet meets all of the one or
 * all of the other. Elements that the plumber put in stay; so do base chains of links that stay, since one that is made
 * anew could see a packet that the one before had already rewritten. '' when nothing differs.
 * @param renewed links that are no longer the same device: theirs went with it
 * @throws RangeError when a set would need another form (limits do not change while an agent runs)
 */
export const changeRuleset = (
  before: RulesetPlan,
  after: RulesetPlan,
  renewed: ReadonlySet<string> = new Set(),
): string => {
  const table = `netdev ${tableName(after.node)}`
  const old = describeRuleset(before)
  const now = describeRuleset(after)
  const isRenewed = ({ hook }: ChainPart): boolean =>
    hook !== null && [...renewed].some(link => hook.includes(`device "${link}"`))
  const removed = [...old.chains].filter(([name, part]) => !now.chains.has(name) || isRenewed(part))
  const kept = [...old.chains.keys()].filter(name => removed.every(([gone]) => gone !== name))
  const added = [...now.chains].filter(([name]) => !kept.includes(name))
  const changed = [...now.chains].filter(
    ([name, part]) => kept.includes(name) && !same(old.chains.get(name)!.rules, part.rules),
  )
  const filled: string[] = []
  for (const [name, part] of now.sets) {
    const was = old.sets.get(name)
    if (was === undefined) continue
    if (was.declaration !== part.declaration) throw new RangeError(`set ${name} cannot change its form`)
    if (same(was.elements, part.elements)) continue
    filled.push(`flush ${part.kind} ${table} ${name}`)
    if (part.elements.length > 0) filled.push(`add element ${table} ${name} { ${part.elements.join(', ')} }`)
  }
  const definitions = [
    ...[...now.sets].filter(([name]) => !old.sets.has(name)).map(([name, part]) => renderSet(name, part)),
    ...added.map(([name, part]) => renderChain(name, part)),
    ...changed.map(([name, part]) => renderChain(name, part, false)),
  ]
  const commands = [
    // A base chain is gone already when its device is: made first, it can be deleted in either case.
    ...removed.filter(([, part]) => part.hook !== null).map(([name]) => `add chain ${table} ${name}`),
    ...[...removed, ...changed].map(([name]) => `flush chain ${table} ${name}`),
    ...removed.map(([name]) => `delete chain ${table} ${name}`),
    ...[...old.sets]
      .filter(([name]) => !now.sets.has(name))
      .map(([name, { kind }]) => `delete ${kind} ${table} ${name}`),
    ...filled,
    ...(definitions.length === 0 ? [] : [`table ${table} {\n${definitions.join('')}}`]),
  ]
  return commands.map(command => `${command}\n`).join('')
}

const same = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((item, i) => item === b[i])
