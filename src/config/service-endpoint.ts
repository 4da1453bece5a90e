/** Where a service's application listens, when that is not the VIP and its port (R-B1: physical IP:port). Pure. */
import { isIP, isIPv6 } from 'node:net'
import { z } from 'zod'
import { type Protocol, port } from './fields.ts'
import type { Path, Problem } from './problems.ts'

export const endpointAddress = z.string().refine(text => isIP(text) !== 0 && !text.includes('%'), {
  error: 'must be an IP address such as 127.0.0.1',
})

export const ownEndpoint = z
  .strictObject({
    address: endpointAddress
      .optional()
      .describe("Address that it listens at, 127.0.0.1 for one; default: the host's own cluster address."),
    port: port("Port that it listens at; default: the service's.").optional(),
  })
  .optional()
  .describe(
    'Where the application listens on each host, when not at the virtual IP and its port (TCP only). New connections are given to it there; it sees the real client, and needs no change.',
  )

export const hostAddress = endpointAddress
  .optional()
  .describe(
    'Address that applications listen at on this host, for services with an endpoint; goes before theirs.',
  )

export interface ServiceWithEndpoint {
  readonly vip: string
  readonly port: number
  readonly endpoint?: z.output<typeof ownEndpoint>
  readonly hosts: readonly { readonly name: string; readonly address?: string | undefined }[]
}

/** Where the application listens on a host with these addresses; null: where clients address it. */
export const endpointOf = (
  { endpoint, vip, port: servicePort, hosts }: ServiceWithEndpoint,
  host: string,
  { cluster, cluster6 }: { readonly cluster: string; readonly cluster6?: string | undefined },
): { address: string; port: number } | null => {
  if (endpoint === undefined) return null
  const own = isIPv6(vip) ? (cluster6 ?? cluster) : cluster
  const address = hosts.find(({ name }) => name === host)?.address ?? endpoint.address ?? own
  return { address, port: endpoint.port ?? servicePort }
}

const addressProblem = (address: string, vip: string): string | null => {
  if (isIPv6(address) !== isIPv6(vip)) return `${address} is not of the family of the virtual IP ${vip}`
  const first = Number(address.split('.')[0])
  const general = isIPv6(address) ? /^(::|::0|ff..:.*)$/i.test(address) : first === 0 || first >= 224
  return general
    ? `${address} is not an address of one machine; one that listens at every address needs none here`
    : null
}

/** What is wrong with the endpoint of the service at `path`. */
export const endpointProblems = (
  service: {
    readonly vip: string
    readonly port: number
    readonly protocol: Protocol
    readonly endpoint?: z.output<typeof ownEndpoint>
  },
  path: Path,
): Problem[] => {
  const { endpoint, vip, protocol } = service
  if (endpoint === undefined) return []
  const at = [...path, 'endpoint']
  if (protocol === 'udp')
    return [
      {
        path: at,
        message:
          'is only for TCP; let the UDP application listen at the virtual IP or at every address (0.0.0.0), on the port of the service',
      },
    ]
  if (endpoint.address === undefined && endpoint.port === undefined)
    return [{ path: at, message: 'is empty; say address or port, or leave endpoint out' }]
  const problem = endpoint.address === undefined ? null : addressProblem(endpoint.address, vip)
  return problem === null ? [] : [{ path: [...at, 'address'], message: problem }]
}

/** What is wrong with a host's own `address`, for a service with an endpoint. */
export const hostAddressProblem = addressProblem
