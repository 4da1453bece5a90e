/** Signs a document as the next revision, hands it to the agent and waits for the cluster; for apply and rollback. */
import { type Change, renderChanges } from '../../config/document-diff.ts'
import { ShuntError } from '../../errors.ts'
import { EXIT } from '../exit-codes.ts'
import { count } from '../format.ts'
import { askOwnCluster, confirm, loadOperator, sendStatements } from '../operator.ts'
import { json, localEnvelope, note, print, warn } from '../output.ts'
import { type Current, type Plan, planOf } from './current.ts'
import type { ChangeFlags } from './flags.ts'
import { awaitRollout, type Rollout } from './rollout.ts'

export interface Wanted {
  text: string
  /** Name of the text in messages. */
  file: string
  note: string
}

const MAX_NOTE = 1_000

interface Outcome {
  applied: boolean
  revision: number
}

const report = (current: Current, plan: Plan, outcome: Outcome, rollout: Rollout | null): void =>
  print(
    json(
      localEnvelope(
        'shunt.apply/1',
        {
          ...outcome,
          changes: plan.changes,
          warnings: plan.warnings,
          rollout: rollout?.rollout ?? current.config.rollout,
        },
        current.node,
      ),
      true,
    ),
  )

/** What a service's hosts are found to be under other checks shows only when they have been probed. */
const touchesChecks = ({ kind, action, text }: Change): boolean =>
  kind === 'service' && action !== 'remove' && (action === 'add' || /\bhealth\.|whenFailing/.test(text))

export const inForceText = (nodes: number, changes: readonly Change[]): string => {
  const names = changes.filter(touchesChecks).map(({ name }) => name)
  const hint =
    names.length === 0
      ? ''
      : `; shunt vips shows in a few seconds whether the hosts of ${names.join(', ')} pass their checks`
  return `in force on ${count(nodes, 'node')}${hint}`
}

/** Watches the nodes take over `revision`; says who has not, in warnings and the exit code. */
const follow = async (flags: ChangeFlags, revision: number, text: string): Promise<Rollout | null> => {
  const interrupted = new AbortController()
  const onSignal = (): void => interrupted.abort()
  process.once('SIGINT', onSignal)
  if (!flags.json) print(`revision ${revision} is accepted`)
  try {
    const rollout = await awaitRollout(flags.socket, revision, text, flags.wait, interrupted.signal)
    if (flags.wait === 0) return rollout
    for (const node of rollout.unheard)
      warn(`the agent of ${node} cannot be heard; it follows when it comes back`)
    for (const node of rollout.behind) warn(`${node} does not have revision ${revision} in force yet`)
    if (rollout.unheard.length > 0) process.exitCode = EXIT.DEGRADED
    if (rollout.behind.length > 0) process.exitCode = EXIT.TIMEOUT
    return rollout
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
    note(`stopped waiting; revision ${revision} is accepted and goes on to the other nodes`)
    process.exitCode = EXIT.INTERRUPTED
    return null
  } finally {
    process.off('SIGINT', onSignal)
  }
}

/**
 * @throws ShuntError SHUNT_ERR_CONFIG (not right), SHUNT_ERR_CONFLICT (another change came first), SHUNT_ERR_GUARD
 * (not confirmed, or not this operator's cluster)
 */
export const applyDocument = async (wanted: Wanted, current: Current, flags: ChangeFlags): Promise<void> => {
  const { config } = current
  if (wanted.note.length > MAX_NOTE)
    throw new ShuntError('SHUNT_ERR_USAGE', `--note has at most ${MAX_NOTE} characters`)
  if (flags.expect !== undefined && flags.expect !== config.revision)
    throw new ShuntError(
      'SHUNT_ERR_CONFLICT',
      `revision ${config.revision} is in force, not ${flags.expect}; look at what changed with shunt config history`,
    )
  const plan = await planOf(wanted.text, wanted.file, current)
  if (!flags.json) print(renderChanges(plan.changes))
  for (const warning of plan.warnings) warn(warning)
  if (plan.changes.length === 0 && config.revision > 0) {
    if (flags.json) report(current, plan, { applied: false, revision: config.revision }, null)
    else print(`nothing to change: revision ${config.revision} says the same`)
    return
  }
  const revision = config.revision + 1
  if (flags['dry-run']) {
    if (flags.json) report(current, plan, { applied: false, revision: config.revision }, null)
    else note(`${count(plan.changes.length, 'change')}; not applied (--dry-run)`)
    return
  }
  const operator = await loadOperator(flags)
  await askOwnCluster(flags.socket, operator)
  await confirm(`Apply ${count(plan.changes.length, 'change')} as revision ${revision}?`, flags)
  await sendStatements(
    flags.socket,
    [
      {
        kind: 'config',
        revision,
        parent: config.hash,
        text: plan.text,
        note: wanted.note,
        atMs: Date.now(),
      },
    ],
    operator,
  )
  const rollout = await follow(flags, revision, plan.text)
  if (flags.json) report(current, plan, { applied: true, revision }, rollout)
  else if (rollout !== null && flags.wait > 0 && process.exitCode === undefined)
    print(inForceText(rollout.rollout.length, plan.changes))
}
