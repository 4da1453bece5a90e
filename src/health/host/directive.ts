/** Directives that the host's infrastructure derives from the status of an application, its operator and itself (R-B6). Pure. */
import type { Directive, DirectiveCause, DirectiveState, Health, WhenFailing } from '../types.ts'

const STRICTNESS = { active: 0, draining: 1, inactive: 2 } as const satisfies Record<DirectiveState, number>

export const isStricter = (a: DirectiveState, b: DirectiveState): boolean => STRICTNESS[a] > STRICTNESS[b]
const stricter = (a: DirectiveState, b: DirectiveState): DirectiveState => (isStricter(a, b) ? a : b)

/** Units give connections even to rows that are not active for such a reason, when there are no others (R-B10). */
export const isLastResort = (cause: DirectiveCause): boolean => cause === 'health' || cause === 'overload'

export interface DirectiveInputs {
  readonly health: Health
  readonly whenFailing: WhenFailing
  readonly isOverloaded: boolean
  readonly isStopping: boolean
  /** The operator's, for the application and for the whole host; `active` asks for nothing. */
  readonly orders: readonly (DirectiveState | undefined)[]
}

/**
 * The strictest of all. The cause is the operator's or the agent's stop if they ask for anything at all, whatever health asks: rows with
 * the cause `health` are used when all others are unhealthy, and what was drained on purpose must not be.
 */
export const deriveDirective = (inputs: DirectiveInputs): Pick<Directive, 'target' | 'cause'> => {
  const ordered = inputs.orders.reduce<DirectiveState>(
    (state, order) => stricter(state, order ?? 'active'),
    'active',
  )
  const stopping: DirectiveState = inputs.isStopping ? 'draining' : 'active'
  const health: DirectiveState = inputs.health === 'failing' ? inputs.whenFailing : 'active'
  const overload: DirectiveState = inputs.isOverloaded ? 'draining' : 'active'
  const target = [ordered, stopping, health, overload].reduce((a, b) => stricter(a, b))
  if (ordered !== 'active') return { target, cause: 'order' }
  if (stopping !== 'active') return { target, cause: 'stopping' }
  if (health !== 'active') return { target, cause: 'health' }
  return { target, cause: overload === 'active' ? 'default' : 'overload' }
}
