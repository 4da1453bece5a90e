/** Whether a body keeps its rule, in bounded time: some regular expressions take exponential time on some texts. */
import { createContext, Script } from 'node:vm'
import type { BodyRule } from '../../health/probe/answer.ts'

/** No other work of the agent's main thread happens meanwhile. */
const MAX_MATCH_MS = 50

const script = new Script('pattern.test(body)')

/** @returns null when the pattern could not be decided in time */
export const bodyFits = (rule: BodyRule, body: string): boolean | null => {
  if ('text' in rule) return body.includes(rule.text)
  const context = createContext({ pattern: rule.pattern, body })
  try {
    return script.runInContext(context, { timeout: MAX_MATCH_MS }) as boolean
  } catch {
    return null
  }
}
