/** The lab that all comparisons share. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Lab, type LabOptions } from '../../src/lab/lab.ts'
import { mustRun } from '../../src/lab/run.ts'
import { pinBalancers, startBalancers } from './balancers.ts'
import { CLIENT_CPU } from './cpu.ts'

export const VIP_SHUNT = '10.99.0.1'
/** Of a service that the agent chooses for. */
export const AGENT_PORT = 81
export const IPERF_PORT = 5201
export const FORWARDER = 'f1'

/** The built executable if there is one, else the sources. */
export const BUILT = join(import.meta.dirname, '..', '..', 'dist', 'shunt')
export const builtBinary = (): string | undefined => (existsSync(BUILT) ? BUILT : undefined)

export const benchName = (): string => `bench-${process.pid}-${randomBytes(2).toString('hex')}`

/** What this process starts from here on runs on the client's CPU. */
export const pinSelf = async (): Promise<void> => {
  await mustRun(['taskset', '-a', '-cp', String(CLIENT_CPU), String(process.pid)])
}

/**
 * One forwarder that is also the classifier, two hosts, and the balancers it is compared with; each round of a
 * comparison has a client of its own, so that no round meets the last one's port numbers.
 */
export const comparisonLab = async (clients: number, options: LabOptions = {}): Promise<Lab> => {
  await pinSelf()
  const lab = await Lab.up({
    ...{ name: benchName(), combine: 'fc', forwarders: 1, hosts: 2, clients, capacities: [50] },
    // iperf3 needs its two connections at one host; only in the node files, for nginx would take the port else.
    configure: config => {
      config.services?.push({
        ...{ name: 'iperf', vip: VIP_SHUNT, port: IPERF_PORT, protocol: 'tcp' as const },
        hosts: [{ name: 'h1', capacity: 50 }],
      })
    },
    ...options,
  })
  await startBalancers(lab)
  await pinBalancers(lab, FORWARDER)
  for (const place of lab.places.filter(p => p.kind === 'client'))
    await lab.exec(place.name, ['sysctl', '-qw', 'net.ipv4.ip_local_port_range=1024 65535'])
  for (const host of lab.hosts) await lab.exec(host.name, ['sysctl', '-qw', 'net.core.somaxconn=4096'])
  return lab
}
