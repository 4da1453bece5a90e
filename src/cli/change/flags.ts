/** Flags of commands that change the cluster document. */
import { Flags } from '@oclif/core'
import { type OperatorFlags, operatorFlags } from '../operator.ts'

export const changeFlags = {
  ...operatorFlags,
  expect: Flags.integer({
    description: 'Only if this revision is in force now (0: none yet).',
    min: 0,
    helpValue: 'N',
  }),
  'dry-run': Flags.boolean({ description: 'Show the changes and stop.' }),
  wait: Flags.integer({
    description: 'Wait at most so many milliseconds for the nodes; 0 does not wait.',
    default: 10_000,
    min: 0,
    max: 3_600_000,
    helpValue: 'MS',
  }),
}

export interface ChangeFlags extends OperatorFlags {
  expect?: number | undefined
  'dry-run': boolean
  wait: number
}
