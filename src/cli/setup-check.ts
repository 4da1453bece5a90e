/** What `shunt init` and `shunt join` check of their flags before they make anything: errors name the flag. */
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { nodeFileText } from '../cluster/setup.ts'
import { parseNodeFile } from '../config/load.ts'
import { didYouMean } from '../config/suggest.ts'
import { ShuntError } from '../errors.ts'
import type { Setup } from './setup-flags.ts'

/** Which flag gives which part of the node file. */
const FLAG_OF: readonly (readonly [string, string])[] = [
  ['node.name', '--name'],
  ['node.identityFile', '--identity'],
  ['node.stateDir', '--state-dir'],
  ['node.controlSocket', '--control-socket'],
  ['node.appSocket', '--app-socket'],
  ['interfaces.uplink', '--uplink'],
  ['interfaces.cluster', '--cluster-interface'],
  ['addresses.cluster6', '--address6'],
  ['addresses.cluster', '--address'],
  ['addresses.tunnel6', '--tunnel6'],
  ['addresses.tunnel', '--tunnel'],
  ['cluster.controlPort', '--control-port'],
  ['cluster.mappingPort', '--mapping-port'],
]

/** `node.yaml:3:9 addresses.cluster: must be ...` as `--address: must be ...`. Pure. */
export const inFlags = (message: string, file: string): string =>
  message
    .split('\n')
    .map(line => {
      const text = line.startsWith(`${file}:`) ? line.slice(file.length).replace(/^:\d+:\d+ /, '') : line
      const place = FLAG_OF.find(([path]) => text.startsWith(path))
      return place === undefined ? text : text.replace(/^[^:\s]+/, place[1])
    })
    .join('\n')

/**
 * The text of the node file that these flags give.
 * @throws ShuntError SHUNT_ERR_USAGE when it would not be a right one
 */
export const nodeFileOf = (setup: Setup, ports: { controlPort: number; mappingPort: number }): string => {
  const text = nodeFileText({ ...setup, ...setup.facts, ...ports })
  const { config } = setup.places
  try {
    parseNodeFile(text, config)
  } catch (error) {
    if (!(error instanceof ShuntError)) throw error
    throw new ShuntError('SHUNT_ERR_USAGE', inFlags(error.message, config), { cause: error })
  }
  return text
}

export interface MachineLinks {
  interfaces: readonly string[]
  /** Addresses of interfaces, without those that only the machine itself reaches. */
  addresses: readonly { ip: string; link: string }[]
}

/** What these flags name and the machine does not have, or undefined. Pure. */
export const absence = (setup: Setup, machine: MachineLinks): string | undefined => {
  const named = [
    ...setup.clusterInterfaces.map(link => ({ link, flag: '--cluster-interface' })),
    ...setup.uplink.map(link => ({ link, flag: '--uplink' })),
  ]
  const missing = named.find(({ link }) => !machine.interfaces.includes(link))
  if (missing !== undefined)
    return `${missing.flag} ${missing.link}: this machine has no such interface${didYouMean(missing.link, machine.interfaces)}; it has ${machine.interfaces.join(', ') || 'none'}`
  const lacking = ownAddresses(setup).find(([, address]) =>
    machine.addresses.every(({ ip }) => ip !== address),
  )
  if (lacking === undefined) return undefined
  const [flag, address] = lacking
  const known = machine.addresses
    .filter(({ ip }) => ip.includes(':') === address.includes(':'))
    .map(({ ip, link }) => `${ip} (${link})`)
    .join(', ')
  return `${flag} ${address}: this machine does not have this address; it has ${known || 'none'}`
}

/** With the flags that say them. */
const ownAddresses = ({ facts }: Setup): [flag: string, address: string][] => [
  ['--address', facts.address],
  ...(facts.address6 === undefined ? [] : [['--address6', facts.address6] as [string, string]]),
]

/** Also of an interface without a carrier, which the list of addresses leaves out. */
const canBind = (ip: string): Promise<boolean> =>
  new Promise(resolve => {
    const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4')
    const end = (there: boolean) => (): void => {
      socket.close()
      resolve(there)
    }
    socket.once('error', end(false))
    socket.bind({ address: ip, port: 0, exclusive: true }, end(true))
  })

const thisMachinesLinks = (): MachineLinks => ({
  interfaces: readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .slice(2)
    .map(line => line.slice(0, line.lastIndexOf(':')).trim())
    .filter(link => link !== '' && link !== 'lo'),
  addresses: Object.entries(networkInterfaces()).flatMap(([link, list]) =>
    (list ?? [])
      .filter(a => !a.internal && (a.family === 'IPv4' || a.scopeid === 0))
      .map(a => ({ ip: a.address, link })),
  ),
})

/** @throws ShuntError SHUNT_ERR_USAGE when this machine lacks an interface or the address */
export const checkMachine = async (setup: Setup): Promise<void> => {
  const machine = thisMachinesLinks()
  const addresses = [...machine.addresses]
  for (const [, address] of ownAddresses(setup))
    if (addresses.every(({ ip }) => ip !== address) && (await canBind(address)))
      addresses.push({ ip: address, link: '?' })
  const fault = absence(setup, { ...machine, addresses })
  if (fault !== undefined)
    throw new ShuntError('SHUNT_ERR_USAGE', `${fault}. Give another, or --unchecked if it comes later`)
}
