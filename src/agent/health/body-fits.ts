/** Whether a body keeps its rule, in bounded time: some regular expressions take exponential time on some texts. */
import { setTimeout as delay } from 'node:timers/promises'
import { createContext, Script } from 'node:vm'
import type { BodyRule } from '../../health/probe/answer.ts'
import { MatchBudget } from '../../health/probe/match-budget.ts'

const script = new Script('pattern.test(body)')
const context = createContext({ pattern: /x/, body: '' })
/** Of this process: its main thread is what matching takes. */
const OF_ALL_CHECKS = new MatchBudget()

/** Null: it takes longer. */
const matches = (pattern: RegExp, body: string, limitMs: number): boolean | null => {
  Object.assign(context, { pattern, body })
  try {
    return script.runInContext(context, { timeout: limitMs }) as boolean
  } catch {
    return null
  } finally {
    context.body = ''
  }
}

export type BodyAnswer =
  | 'fits'
  | 'differs'
  /** The pattern could not be decided in the time of one match. */
  | 'slow'
  /** It is slow, and the time for such patterns of all checks is used up. */
  | 'no-time'

/** `check`: by what its time is counted. Rejects when `signal` aborts while it waits for its turn. */
export const bodyFits = async (
  check: string,
  rule: BodyRule,
  body: string,
  signal: AbortSignal,
  budget = OF_ALL_CHECKS,
): Promise<BodyAnswer> => {
  if ('text' in rule) return body.includes(rule.text) ? 'fits' : 'differs'
  for (;;) {
    const nowMs = performance.now()
    const wasSlow = budget.isSlow(check, nowMs)
    const answer = budget.ask(check, nowMs)
    if (answer === 'refused') return 'no-time'
    if ('waitMs' in answer) {
      await delay(answer.waitMs, undefined, { signal })
      continue
    }
    const before = process.threadCpuUsage()
    const fits = matches(rule.pattern, body, answer.limitMs)
    const { user, system } = process.threadCpuUsage(before)
    const tookMs = (user + system) / 1000
    budget.took(check, tookMs, performance.now())
    if (fits !== null) return fits ? 'fits' : 'differs'
    // Others had the CPU: once more.
    if (tookMs < answer.limitMs / 2) await delay(1, undefined, { signal })
    // It had the time of a quick one: once more, with that of a slow one.
    else if (wasSlow) return 'slow'
  }
}
