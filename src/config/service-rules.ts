/** Rules about services that hold in node files and in documents alike, each for what it needs of a service to be right. Pure. */
import { addressPort } from '../address-port.ts'
import { announceProblems } from './announce.ts'
import type { Announce, Protocol } from './fields.ts'
import { serviceHealthProblems } from './health-checks.ts'
import type { ChoiceConfig, HealthCheckConfig } from './health-fields.ts'
import { type Problem, unique } from './problems.ts'
import { endpointProblems, type ServiceWithEndpoint } from './service-endpoint.ts'
import type { Part } from './valid-parts.ts'

interface Service {
  readonly name: string
  readonly vip: string
  readonly port: number
  readonly protocol: Protocol
  readonly announce?: Announce | undefined
  readonly health?: HealthCheckConfig | undefined
  readonly choice?: ChoiceConfig | undefined
  readonly endpoint?: ServiceWithEndpoint['endpoint']
}

export const serviceProblems = (services: readonly Part<Service>[]): Problem[] => {
  const problems: Problem[] = []
  const serviceOnce = unique(problems, 'service name')
  const endpointOnce = unique(problems, 'virtual IP, port and protocol')
  services.forEach(({ whole, some: { name, vip, port, protocol } }, i) => {
    const path = ['services', i]
    if (name !== undefined) serviceOnce(name, [...path, 'name'])
    if (vip !== undefined && port !== undefined && protocol !== undefined)
      endpointOnce(`${addressPort(vip, port)}/${protocol}`, path)
    if (whole !== undefined)
      problems.push(...serviceHealthProblems(whole, path), ...endpointProblems(whole, path))
  })
  return [...problems, ...announceProblems(services.map(({ whole }) => whole))]
}
