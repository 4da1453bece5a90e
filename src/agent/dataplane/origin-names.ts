import type { FlowOrigin } from '../../control/types.ts'

/** By ORIGIN (flows.ts), in answers of the control API. */
export const ORIGIN_NAMES: readonly FlowOrigin[] = [
  'chosen',
  'kept',
  'own-atom',
  'member-atom',
  'host',
  'nobody',
  'guess',
]
