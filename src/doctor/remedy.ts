/** Applies what --fix may: kernel settings and modes of private files. */
import { chmodSync, statSync } from 'node:fs'
import { errorText } from '../errors.ts'
import { readSysctl, writeSysctl } from '../os/sysctl.ts'
import type { Finding, Remedy } from './facts.ts'

export interface Applied {
  /** What was done, or tried. */
  readonly text: string
  /** Why it did not work, or null. */
  readonly error: string | null
}

const apply = (remedy: Remedy): string => {
  if (remedy.kind === 'mode') {
    const before = (statSync(remedy.path).mode & 0o777).toString(8)
    chmodSync(remedy.path, remedy.mode)
    return `mode of ${remedy.path}: ${before} -> ${remedy.mode.toString(8)}`
  }
  const before = readSysctl(remedy.name)
  writeSysctl(remedy.name, remedy.value)
  return `${remedy.name.join('.')}: ${before} -> ${remedy.value}, until the next boot`
}

const describe = (remedy: Remedy): string =>
  remedy.kind === 'mode' ? `mode of ${remedy.path}` : remedy.name.join('.')

/** Each is tried though an earlier one failed. */
export const applyRemedies = (findings: readonly Finding[]): Applied[] =>
  findings.flatMap(({ remedy }): Applied[] => {
    if (remedy === undefined) return []
    try {
      return [{ text: apply(remedy), error: null }]
    } catch (error) {
      return [{ text: describe(remedy), error: errorText(error) }]
    }
  })
