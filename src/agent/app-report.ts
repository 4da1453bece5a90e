/** What an application may say of itself over the applications' socket (R-B2): health and load, for services that it serves. Pure. */
import type { Health } from '../health/types.ts'

export interface ReportQuery {
  /** Null: every service that the process serves. */
  readonly service: string | null
  readonly health: Health | undefined
  /** Percent of its capacity, 0 to 255. */
  readonly load: number | undefined
}

const KEYS = ['service', 'health', 'load']
const NAME = /^[a-z0-9-]{1,63}$/
const MAX_LOAD = 255

/** The query of POST /v1/report, or what is wrong with it. */
export const parseReport = (params: URLSearchParams): ReportQuery | string => {
  const keys = [...params.keys()]
  const strange = keys.find(key => !KEYS.includes(key))
  if (strange !== undefined)
    return `unknown parameter ${JSON.stringify(strange.slice(0, 40))}; there are ${KEYS.join(', ')}`
  if (new Set(keys).size < keys.length) return 'a parameter is given twice'
  const service = params.get('service')
  if (service !== null && !NAME.test(service)) return 'service must be a name (1 to 63 of a-z, 0-9 and -)'
  const health = params.get('health') ?? undefined
  if (health !== undefined && health !== 'healthy' && health !== 'failing')
    return 'health must be healthy or failing'
  const load = params.get('load')
  if (load !== null && !(/^\d{1,3}$/.test(load) && Number(load) <= MAX_LOAD))
    return `load must be a whole number from 0 to ${MAX_LOAD}, percent of the capacity`
  if (health === undefined && load === null) return 'nothing to report: give health, load or both'
  return { service, health, load: load === null ? undefined : Number(load) }
}
