/** What the lab commands share. */
import { Flags } from '@oclif/core'
import { DEFAULT_OPTIONS } from '../lab/options.ts'

export const labNameFlag = Flags.string({
  char: 'n',
  description: 'Name of the lab: 1 to 20 of a-z, 0-9 and -.',
  env: 'SHUNT_LAB',
  default: DEFAULT_OPTIONS.name,
  helpValue: 'NAME',
})
