/** What any data plane must do with which packet (R-A3, R-A7, R-E8). */
import type { DataplaneCase } from './dataplane-case.ts'
import { damagedCases } from './dataplane-damage.ts'
import { goodCases } from './dataplane-good.ts'
import { strangeCases } from './dataplane-strange.ts'
import { directedCases } from './dataplane-ways.ts'

/** All cases, by unique names. */
export const dataplaneCases = (): DataplaneCase[] => [
  ...goodCases(),
  ...directedCases(),
  ...strangeCases(),
  ...damagedCases(),
]
