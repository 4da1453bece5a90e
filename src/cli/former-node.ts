/** The node that a machine was before: what of it is there, what it was, and how to be rid of it. */
import { existsSync, unlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { NodeFile } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'
import { placesOf, type SetupFlags } from './setup-flags.ts'

/** What a new node may not take over from it: node file, identity, state of the cluster, list of tokens. */
export const formerFiles = async (flags: SetupFlags): Promise<string[]> => {
  const [{ clusterFile }, { TOKENS_FILE }] = await Promise.all([
    import('../cluster/store.ts'),
    import('../cluster/tokens-store.ts'),
  ])
  const { config, identity, stateDir } = placesOf(flags)
  const former = await readFormer(config)
  const identities = [identity, ...(former === null ? [] : [former.node.identityFile])]
  const dirs = [stateDir, ...(former === null ? [] : [former.node.stateDir])]
  const all = [config, ...identities, ...dirs.flatMap(dir => [clusterFile(dir), join(dir, TOKENS_FILE)])].map(
    file => resolve(file),
  )
  return [...new Set(all)].filter(file => existsSync(file))
}

/** The node file that is there; null when there is none, or it is damaged. */
export const readFormer = async (config: string): Promise<NodeFile | null> => {
  if (!existsSync(config)) return null
  const { loadNodeFile } = await import('../config/load.ts')
  try {
    return loadNodeFile(config)
  } catch {
    return null
  }
}

/** @throws ShuntError SHUNT_ERR_GUARD */
export const refuseStatic = (file: NodeFile, config: string): void => {
  if (file.cluster.secrets !== undefined)
    throw new ShuntError(
      'SHUNT_ERR_GUARD',
      `${config} is the node file of a static cluster and is not overwritten; move it away first, or give another --config`,
    )
}

/** For errors: how a machine that was a node becomes another one. */
export const anewHint = (files: readonly string[]): string =>
  `to join as a new node, add --anew, which removes ${files.join(', ')}`

/** @throws ShuntError SHUNT_ERR_STATE when one cannot be removed */
export const removeFormer = (files: readonly string[]): void => {
  for (const file of files)
    try {
      unlinkSync(file)
    } catch (cause) {
      throw new ShuntError('SHUNT_ERR_STATE', `cannot remove ${file}`, { cause })
    }
}

/** What the kept node file says, by flag. */
const said = (file: NodeFile): Record<string, string> => ({
  name: file.node.name,
  address: file.addresses.cluster,
  tunnel: file.addresses.tunnel ?? 'none',
  address6: file.addresses.cluster6 ?? 'none',
  tunnel6: file.addresses.tunnel6 ?? 'none',
  uplink: file.interfaces.uplink.join(',') || 'none',
  'cluster-interface': file.interfaces.cluster.join(','),
  identity: resolve(file.node.identityFile),
  'state-dir': resolve(file.node.stateDir),
  'control-socket': resolve(file.node.controlSocket),
  'app-socket': resolve(file.node.appSocket),
})
const PATHS = ['identity', 'state-dir', 'control-socket', 'app-socket']
const LISTS = ['uplink', 'cluster-interface']
const normal = (flag: string, value: string): string => {
  if (PATHS.includes(flag)) return resolve(value)
  const words = LISTS.includes(flag) ? value.split(',').map(word => word.trim()) : [value]
  return words.filter(word => word !== '').join(',')
}

/**
 * Flags that were given and say something else than the node file that is kept, such as
 * `--address 10.0.0.2 (it says 10.0.0.1)`. `given`: names of the flags on the command line.
 */
export const contradictions = (file: NodeFile, flags: SetupFlags, given: ReadonlySet<string>): string[] =>
  Object.entries(said(file)).flatMap(([flag, there]) => {
    const value = flags[flag as keyof SetupFlags]
    if (!given.has(flag) || typeof value !== 'string' || normal(flag, value) === there) return []
    return [`--${flag} ${value} (it says ${there})`]
  })
