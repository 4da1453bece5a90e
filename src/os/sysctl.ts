import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ShuntError } from '../errors.ts'

/**
 * A kernel setting's name: an array, because interface names may contain dots (`['net', 'ipv4', 'conf', 'eth0.5',
 * 'rp_filter']`); plain names may be given with dots.
 */
export type SysctlName = string | readonly string[]

/** The parts of a name. */
export const partsOf = (name: SysctlName): readonly string[] =>
  typeof name === 'string' ? name.split('.') : name

/** The setting's file. Throws RangeError for a name that would lead elsewhere. */
export const sysctlPath = (name: SysctlName): string => {
  const parts = partsOf(name)
  if (
    parts.length === 0 ||
    parts.some(part => part === '' || part === '.' || part === '..' || part.includes('/'))
  ) {
    throw new RangeError(`${JSON.stringify(name)} is not the name of a kernel setting`)
  }
  // Only by synchronous calls: net settings are those of the calling thread's network namespace
  return join('/proc/sys', ...parts)
}

const failure = (verb: string, name: SysctlName, cause: unknown): ShuntError => {
  const text = partsOf(name).join('.')
  const code = (cause as NodeJS.ErrnoException).code
  if (code === 'ENOENT') {
    return new ShuntError(
      'SHUNT_ERR_CAPABILITY',
      `this kernel has no setting ${text} (or no such interface)`,
      { cause },
    )
  }
  return new ShuntError('SHUNT_ERR_OS', `cannot ${verb} the kernel setting ${text}: ${code}`, { cause })
}

/** The value without its newline. Throws ShuntError (SHUNT_ERR_CAPABILITY if there is no such setting). */
export const readSysctl = (name: SysctlName): string => {
  try {
    return readFileSync(sysctlPath(name), 'utf8').trimEnd()
  } catch (error) {
    throw error instanceof RangeError ? error : failure('read', name, error)
  }
}

/** Throws ShuntError, also if the kernel refuses the value. */
export const writeSysctl = (name: SysctlName, value: string | number): void => {
  try {
    writeFileSync(sysctlPath(name), `${value}\n`)
  } catch (error) {
    throw error instanceof RangeError ? error : failure('set', name, error)
  }
}

/** Whether this kernel has the setting. */
export const hasSysctl = (name: SysctlName): boolean => existsSync(sysctlPath(name))
