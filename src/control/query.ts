/** Routes and queries of the control API, as pure functions. */
import { isIP } from 'node:net'
import { DEFAULT_FLOWS, type FlowsQuery, MAX_FLOWS, type Noun, SCHEMAS } from './types.ts'

export type Request = { noun: Exclude<Noun, 'flows'> } | { noun: 'flows'; query: FlowsQuery }

export type Refused = {
  status: 400 | 404 | 405
  code: 'bad_query' | 'not_found' | 'method_not_allowed'
  message: string
}

const bad = (message: string): Refused => ({ status: 400, code: 'bad_query', message })

const FLOW_KEYS = ['limit', 'service', 'host', 'client']
const NAME = /^[a-z0-9-]{1,63}$/

/** `10.0.0.1`, `10.0.0.1:4000`, `fd00::1` or `[fd00::1]:4000` */
const isClient = (text: string): boolean => {
  if (isIP(text) !== 0) return true
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  return match !== null && isIP(match[1] ?? match[2] ?? '') !== 0 && Number(match[3]) <= 65_535
}

const flowsQuery = (params: URLSearchParams): FlowsQuery | Refused => {
  const query: FlowsQuery = { limit: DEFAULT_FLOWS }
  const limit = params.get('limit')
  if (limit !== null) {
    if (!/^\d{1,6}$/.test(limit) || Number(limit) < 1 || Number(limit) > MAX_FLOWS)
      return bad(`limit must be a whole number from 1 to ${MAX_FLOWS}`)
    query.limit = Number(limit)
  }
  for (const key of ['service', 'host'] as const) {
    const value = params.get(key)
    if (value === null) continue
    if (!NAME.test(value)) return bad(`${key} must be a name (1 to 63 of a-z, 0-9 and -)`)
    query[key] = value
  }
  const client = params.get('client')
  if (client !== null) {
    if (!isClient(client)) return bad('client must be an address, or address:port')
    query.client = client
  }
  return query
}

/** What a request line asks for, or why it is refused. */
export const parseRequest = (method: string, target: string): Request | Refused => {
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  const noun = /^\/v1\/([a-z]+)$/.exec(path)?.[1]
  if (noun === undefined || !Object.hasOwn(SCHEMAS, noun)) {
    const known = Object.keys(SCHEMAS).map(n => `/v1/${n}`)
    return { status: 404, code: 'not_found', message: `there is no such path; there are ${known.join(', ')}` }
  }
  if (method !== 'GET')
    return { status: 405, code: 'method_not_allowed', message: 'this path takes only GET' }
  const params = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1))
  const allowed = noun === 'flows' ? FLOW_KEYS : []
  const seen = new Set<string>()
  for (const key of params.keys()) {
    if (!allowed.includes(key)) {
      const known = allowed.length === 0 ? 'none' : allowed.join(', ')
      return bad(`unknown query parameter ${JSON.stringify(key.slice(0, 40))}; known: ${known}`)
    }
    if (seen.has(key)) return bad(`query parameter ${key} is given twice`)
    seen.add(key)
  }
  if (noun !== 'flows') return { noun: noun as Exclude<Noun, 'flows'> }
  const query = flowsQuery(params)
  return 'status' in query ? query : { noun, query }
}
