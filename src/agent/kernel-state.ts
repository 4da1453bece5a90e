/** The state directory, and what an earlier agent left in it. */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { errorText, ShuntError } from '../errors.ts'

/** An address that an agent added. */
export interface OwnedAddress {
  readonly link: string
  readonly cidr: string
}

export const prepareStateDir = (path: string): void => {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw new ShuntError(
      'SHUNT_ERR_CAPABILITY',
      `the state directory cannot be used (${errorText(cause)}); correct node.stateDir, or make ${path} a directory that root can write`,
      { cause },
    )
  }
}

export const readOwned = (path: string): OwnedAddress[] => {
  if (!existsSync(path)) return []
  try {
    const list = JSON.parse(readFileSync(path, 'utf8')) as unknown
    const isOwned = (entry: unknown): entry is OwnedAddress => {
      const { link: device, cidr } = (entry ?? {}) as Partial<OwnedAddress>
      return typeof device === 'string' && typeof cidr === 'string'
    }
    if (Array.isArray(list) && list.every(isOwned)) return list
    throw new Error('it has another form')
  } catch (cause) {
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `${path} should hold addresses that an earlier agent added, but cannot be read; check them (ip address) and remove it`,
      { cause },
    )
  }
}

export const forgetOwned = (path: string): void => rmSync(path, { force: true })
