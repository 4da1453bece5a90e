/** What is probed: an endpoint of this host with the health check of its service. Pure. */
import type { HealthCheckConfig } from '../../config/health-fields.ts'

export interface CheckTarget {
  /** Names the endpoint, unique among the targets: the key of its application identifier. */
  readonly key: string
  /** Name of the service; commands find it in their environment. */
  readonly service: string
  /** Where the application is reached on this host: the virtual IP, which is an address of this machine, or its own endpoint. */
  readonly address: string
  /** Port of the service, or of the endpoint; `check.port` goes before it. */
  readonly port: number
  readonly check: HealthCheckConfig
}

/** What `checkTarget` needs of a service's configuration. */
export interface CheckedService {
  readonly name: string
  readonly vip: string
  readonly port: number
  readonly health?: HealthCheckConfig | undefined
}

/** The target of a service's endpoint on this host, or null when it is not probed. */
export const checkTarget = (
  key: string,
  service: CheckedService,
  endpoint?: { readonly address: string; readonly port: number },
): CheckTarget | null => {
  const { name, vip, port, health } = service
  if (health === undefined || health.type === 'none') return null
  return { key, service: name, ...(endpoint ?? { address: vip, port }), check: health }
}

export const portOf = (target: CheckTarget): number => target.check.port ?? target.port

/** Whether two targets are probed in the same way, so that what is known of the one holds for the other. */
export const sameTarget = (a: CheckTarget, b: CheckTarget): boolean => JSON.stringify(a) === JSON.stringify(b)
