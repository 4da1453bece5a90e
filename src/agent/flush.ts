/** `shunt agent --flush`: removes all that agents of a node left in the kernel and beside it. */

import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { NodeFile } from '../config/schema.ts'
import { errorText, ShuntError } from '../errors.ts'
import { addresses, deleteAddress, link } from '../os/netlink/route.ts'
import { deleteTable, hasTable } from '../os/nft.ts'
import { SysctlGuard } from '../os/sysctl-guard.ts'
import { tableName } from './dataplane/nft/ruleset.ts'
import { forgetOwned, type OwnedAddress, readOwned } from './kernel-state.ts'
import { removeLasting } from './lasting-state.ts'
import { forgetClaims, readClaims } from './ownership/saved-claims.ts'
import { cidrOf } from './ownership/vip-addresses.ts'
import { lockState } from './state-lock.ts'

export interface Flushed {
  /** A sentence for each thing that was there and is gone. */
  readonly removed: readonly string[]
  /** What could not be removed, and why. */
  readonly failed: readonly string[]
}

/** Whether somebody listens on an agent's control socket. */
const runs = (socketPath: string): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    // One that is full or may not be used is an agent's all the same.
    socket.once('error', (error: NodeJS.ErrnoException) =>
      resolve(!['ENOENT', 'ECONNREFUSED', 'ENOTSOCK', 'ENOTDIR'].includes(error.code ?? '')),
    )
  })

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`

/** Each step is tried though an earlier one failed. Throws SHUNT_ERR_GUARD while an agent runs there, SHUNT_ERR_OS while one starts, SHUNT_ERR_CAPABILITY without root. */
export const flushNode = async ({ node }: Pick<NodeFile, 'node'>): Promise<Flushed> => {
  if (process.geteuid?.() !== 0)
    throw new ShuntError('SHUNT_ERR_CAPABILITY', 'this changes the kernel: run it as root')
  if (await runs(node.controlSocket))
    throw new ShuntError(
      'SHUNT_ERR_GUARD',
      `the agent of ${node.name} runs: stop it first (systemctl stop shunt), which removes everything itself`,
    )
  // One that starts does not listen yet.
  const unlock = existsSync(node.stateDir) ? await lockState(node.stateDir) : null
  try {
    return await removeAll(node)
  } finally {
    unlock?.()
  }
}

const removeAll = async (node: NodeFile['node']): Promise<Flushed> => {
  const removed: string[] = []
  const failed: string[] = []
  const attempt = async (what: string, step: () => Promise<void> | void): Promise<void> => {
    try {
      await step()
    } catch (error) {
      failed.push(`${what}: ${errorText(error)}`)
    }
  }
  // First: what XDP restores is let through by the rules, and needs the addresses.
  await attempt('XDP', () => {
    const { links, maps, tables } = removeLasting(node)
    if (links > 0) removed.push(`${count(links, 'XDP program')} taken off the interfaces`)
    if (maps > 0) removed.push(`${count(maps, 'pinned map')} with routes, mappings and counters`)
    if (tables) removed.push('the flows and mappings that were kept for the next agent')
  })
  const table = tableName(node.name)
  for (const family of ['netdev', 'inet'] as const)
    await attempt(`nftables table ${family} ${table}`, async () => {
      if (!(await hasTable(family, table))) return
      await deleteTable(family, table)
      removed.push(`nftables table ${family} ${table}`)
    })
  await attempt('addresses', () => removeAddresses(join(node.stateDir, 'addresses.json'), removed))
  await attempt('virtual IPs', () => removeVips(node, removed))
  await attempt('settings', () => {
    const path = join(node.stateDir, 'sysctls.json')
    if (!existsSync(path)) return
    const guard = new SysctlGuard(path)
    const names = guard.changed
    guard.restore()
    for (const name of names) removed.push(`setting ${name} is back to what it was`)
  })
  return { removed, failed }
}

const removeAddresses = (path: string, removed: string[]): void => {
  for (const { link: device, cidr } of readOwned(path))
    if (wasThere({ link: device, cidr })) removed.push(`address ${cidr} of ${device}`)
  forgetOwned(path)
}

/** Those announced by ARP: on uplinks. */
const removeVips = ({ name, stateDir }: NodeFile['node'], removed: string[]): void => {
  const own = readClaims(stateDir).filter(({ holder }) => holder === name)
  const vips = new Set(own.map(({ vip }) => vip))
  const loopback = link('lo').index
  for (const { interfaceIndex, address } of addresses())
    if (vips.has(address) && interfaceIndex !== loopback && deleteAddress(interfaceIndex, cidrOf(address)))
      removed.push(`virtual IP ${address}`)
  forgetClaims(stateDir)
}

const wasThere = ({ link: device, cidr }: OwnedAddress): boolean => {
  try {
    return deleteAddress(link(device).index, cidr)
  } catch {
    return false // the interface went, and its addresses with it
  }
}
