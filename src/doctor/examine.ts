/** All checks in the order of their report: what others rest on comes first. */
import { CLUSTER_CHECKS } from './checks/cluster.ts'
import { FILE_CHECKS } from './checks/files.ts'
import { MACHINE_CHECKS } from './checks/machine.ts'
import { MEMBERSHIP_CHECKS } from './checks/membership.ts'
import { NETWORK_CHECKS } from './checks/network.ts'
import { SERVICE_CHECKS } from './checks/services.ts'
import type { Check, CheckStatus, Facts, Finding } from './facts.ts'

export const CHECKS: readonly Check[] = [
  ...MACHINE_CHECKS,
  ...FILE_CHECKS,
  ...NETWORK_CHECKS,
  ...MEMBERSHIP_CHECKS,
  ...CLUSTER_CHECKS,
  ...SERVICE_CHECKS,
]

export interface Diagnosis extends Finding {
  /** Id of the check; one check may find several things. */
  readonly check: string
}

/** Judges the facts. Pure. */
export const examine = (facts: Facts): Diagnosis[] =>
  CHECKS.flatMap(({ id, run }) => run(facts).map(finding => ({ check: id, ...finding })))

export const countByStatus = (diagnoses: readonly Finding[]): Record<CheckStatus, number> => {
  const counts = { pass: 0, warn: 0, fail: 0, skip: 0 }
  for (const { status } of diagnoses) counts[status]++
  return counts
}
