/** Routes and queries of the control API, as pure functions. */
import { isIP } from 'node:net'
import { isPrefix } from '../address-port.ts'
import {
  type AtomQuery,
  type CaptureQuery,
  type ConfigQuery,
  DEFAULT_CAPTURE_COUNT,
  DEFAULT_CAPTURE_SECONDS,
  DEFAULT_EVENTS,
  DEFAULT_FLOWS,
  type EventsQuery,
  type FlowsQuery,
  MAX_CAPTURE_COUNT,
  MAX_CAPTURE_SECONDS,
  MAX_EVENTS,
  MAX_FLOWS,
  MAX_SNAPLEN,
  MIN_SNAPLEN,
  type Noun,
  ORDER_SCHEMAS,
  type Order,
  type TraceQuery,
} from './types.ts'

export type Asked =
  | { ask: Exclude<Noun, 'flows' | 'config' | 'events' | 'trace' | 'atoms' | 'capture'> }
  | { ask: 'flows'; query: FlowsQuery }
  | { ask: 'config'; query: ConfigQuery }
  | { ask: 'events'; query: EventsQuery }
  | { ask: 'trace'; query: TraceQuery }
  | { ask: 'atoms'; query: AtomQuery }
  | { ask: 'openapi' }

export type Request =
  | Asked
  /** Events as they happen, after those that the query matches. */
  | { ask: 'follow'; query: EventsQuery }
  /** Packets as they come. */
  | { ask: 'capture'; query: CaptureQuery }
  /** A GET that another node answers; `path` has its query and was found acceptable here. */
  | { ask: 'remote'; node: string; path: string }
  /** `node`: another one, which it is passed on to. */
  | { ask: 'order'; order: Order; node?: string }

export type Refused = {
  status: 400 | 404 | 405
  code: 'bad_query' | 'not_found' | 'method_not_allowed'
  message: string
  /** Of a 405: the method that the path takes. */
  allow?: 'GET' | 'POST'
}

const bad = (message: string): Refused => ({ status: 400, code: 'bad_query', message })
const isRefused = (value: object): value is Refused => 'status' in value

/** What a GET path asks for, and the parameters that it takes. */
const NOUNS: Record<string, { ask: Noun | 'openapi'; keys: readonly string[] }> = {
  status: { ask: 'status', keys: [] },
  hosts: { ask: 'hosts', keys: [] },
  vips: { ask: 'vips', keys: [] },
  flows: { ask: 'flows', keys: ['limit', 'service', 'host', 'client'] },
  drops: { ask: 'drops', keys: [] },
  trace: { ask: 'trace', keys: ['protocol', 'client', 'vip'] },
  atoms: { ask: 'atoms', keys: ['protocol', 'client', 'vip'] },
  capture: { ask: 'capture', keys: ['vip', 'port', 'client', 'count', 'seconds', 'snaplen', 'at'] },
  nodes: { ask: 'nodes', keys: [] },
  cluster: { ask: 'cluster', keys: [] },
  config: { ask: 'config', keys: ['revision'] },
  'config/history': { ask: 'history', keys: [] },
  events: { ask: 'events', keys: ['after', 'limit', 'follow'] },
  health: { ask: 'health', keys: [] },
  apps: { ask: 'apps', keys: [] },
  'openapi.json': { ask: 'openapi', keys: [] },
}

const NAME = /^[a-z0-9-]{1,63}$/
const REMOTE = /^\/v1\/nodes\/([^/]*)\/(.+)$/s

/** `10.0.0.1`, `10.0.0.1:4000`, `fd00::1` or `[fd00::1]:4000` */
const isClient = (text: string): boolean => {
  if (isIP(text) !== 0) return true
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  return match !== null && isIP(match[1] ?? match[2] ?? '') !== 0 && Number(match[3]) <= 65_535
}

/** A parameter that is a whole number; `fallback` when it is not given. */
const whole = (params: URLSearchParams, key: string, fallback: number, min: number, max: number) => {
  const text = params.get(key)
  if (text === null) return fallback
  const fits = /^\d{1,16}$/.test(text) && Number(text) >= min && Number(text) <= max
  return fits ? Number(text) : bad(`${key} must be a whole number from ${min} to ${max}`)
}

const flowsQuery = (params: URLSearchParams): Request | Refused => {
  const limit = whole(params, 'limit', DEFAULT_FLOWS, 1, MAX_FLOWS)
  if (typeof limit !== 'number') return limit
  const query: FlowsQuery = { limit }
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
  return { ask: 'flows', query }
}

/** Family of `address:port`, the port not 0; 0: it is none. */
const endFamily = (text: string): number => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port < 1 || port > 65_535 || text.includes('%')) return 0
  const family = isIP(match[1] ?? match[2] ?? '')
  // Brackets are for IPv6.
  return family === (match[1] === undefined ? 4 : 6) ? family : 0
}

const flowOf = (params: URLSearchParams): TraceQuery | Refused => {
  const protocol = params.get('protocol') ?? 'tcp'
  if (protocol !== 'tcp' && protocol !== 'udp') return bad('protocol must be tcp or udp')
  const [client, vip] = [params.get('client') ?? '', params.get('vip') ?? '']
  const family = endFamily(client)
  if (family === 0 || endFamily(vip) !== family)
    return bad('client and vip must be given, as address:port of one family (IPv6 in brackets)')
  return { protocol, client, vip }
}

const traceQuery = (params: URLSearchParams): Request | Refused => {
  const query = flowOf(params)
  return isRefused(query) ? query : { ask: 'trace', query }
}

const atomsQuery = (params: URLSearchParams): Request | Refused => {
  if (params.size === 0) return { ask: 'atoms', query: {} }
  const flow = flowOf(params)
  return isRefused(flow) ? flow : { ask: 'atoms', query: { flow } }
}

const configQuery = (params: URLSearchParams): Request | Refused => {
  const revision = params.get('revision')
  if (revision === null) return { ask: 'config', query: {} }
  if (!/^(?:\d{1,9}|[0-9a-f]{8,64})$/.test(revision))
    return bad('revision must be a number, or 8 to 64 hexadecimal digits of a hash')
  return { ask: 'config', query: { revision } }
}

const eventsQuery = (params: URLSearchParams): Request | Refused => {
  const after = whole(params, 'after', 0, 0, Number.MAX_SAFE_INTEGER)
  if (typeof after !== 'number') return after
  const limit = whole(params, 'limit', DEFAULT_EVENTS, 1, MAX_EVENTS)
  if (typeof limit !== 'number') return limit
  const follow = params.get('follow') ?? '0'
  if (follow !== '0' && follow !== '1') return bad('follow must be 1, or left out')
  return { ask: follow === '1' ? 'follow' : 'events', query: { after, limit } }
}

const captureQuery = (params: URLSearchParams): Request | Refused => {
  const count = whole(params, 'count', DEFAULT_CAPTURE_COUNT, 1, MAX_CAPTURE_COUNT)
  if (typeof count !== 'number') return count
  const seconds = whole(params, 'seconds', DEFAULT_CAPTURE_SECONDS, 1, MAX_CAPTURE_SECONDS)
  if (typeof seconds !== 'number') return seconds
  const snaplen = whole(params, 'snaplen', MAX_SNAPLEN, MIN_SNAPLEN, MAX_SNAPLEN)
  if (typeof snaplen !== 'number') return snaplen
  const port = whole(params, 'port', 0, 1, 65_535)
  if (typeof port !== 'number') return port
  const vip = params.get('vip') ?? ''
  if (isIP(vip) === 0 || vip.includes('%')) return bad('vip must be given, as an address')
  const client = params.get('client')
  if (client !== null && !isPrefix(client)) return bad('client must be an address, or address/bits')
  const at = params.get('at')
  if (at !== null && at !== 'client' && at !== 'stack') return bad('at must be client or stack')
  const query: CaptureQuery = { vip, count, seconds, snaplen }
  if (port !== 0) query.port = port
  if (client !== null) query.client = client
  if (at !== null) query.at = at
  return { ask: 'capture', query }
}

/** Refuses parameters that the path does not take, and those that come twice. */
const checkKeys = (params: URLSearchParams, allowed: readonly string[]): Refused | undefined => {
  const seen = new Set<string>()
  for (const key of params.keys()) {
    if (!allowed.includes(key)) {
      const known = allowed.length === 0 ? 'none' : allowed.join(', ')
      return bad(`unknown query parameter ${JSON.stringify(key.slice(0, 40))}; known: ${known}`)
    }
    if (seen.has(key)) return bad(`query parameter ${key} is given twice`)
    seen.add(key)
  }
  return undefined
}

const remoteRequest = (method: string, node: string, rest: string): Request | Refused => {
  if (!NAME.test(node)) return bad('the node must be a name (1 to 63 of a-z, 0-9 and -)')
  const path = `/v1/${rest}`
  const inner = parseRequest(method, path)
  if (isRefused(inner)) return inner
  if (inner.ask === 'remote') return bad('a node is asked about itself; give one node')
  if (inner.ask === 'capture') return bad('a capture runs on the node that sees the packets: ask there')
  if (inner.ask === 'follow') return bad('events of another node cannot be followed; ask for them with after')
  // What is agreed on is changed by statements, which all nodes get; a node takes only itself out.
  if (inner.ask === 'order' && inner.order === 'failover') return { ...inner, node }
  if (inner.ask === 'order') return bad('another node takes no orders this way; give the order to this node')
  return { ask: 'remote', node, path }
}

const notFound = (): Refused => {
  const known = [...Object.keys(NOUNS), ...Object.keys(ORDER_SCHEMAS), 'nodes/NAME/...'].map(n => `/v1/${n}`)
  return { status: 404, code: 'not_found', message: `there is no such path; there are ${known.join(', ')}` }
}

const wrongMethod = (allow: 'GET' | 'POST'): Refused => ({
  status: 405,
  code: 'method_not_allowed',
  message: `this path takes only ${allow}`,
  allow,
})

/** What a request line asks for, or why it is refused. */
export const parseRequest = (method: string, target: string): Request | Refused => {
  const remote = REMOTE.exec(target)
  if (remote !== null) return remoteRequest(method, remote[1]!, remote[2]!)
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  const name = path.startsWith('/v1/') ? path.slice(4) : ''
  const params = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1))
  if (Object.hasOwn(ORDER_SCHEMAS, name)) {
    if (method !== 'POST') return wrongMethod('POST')
    return checkKeys(params, []) ?? { ask: 'order', order: name as Order }
  }
  if (!Object.hasOwn(NOUNS, name)) return notFound()
  if (method !== 'GET') return wrongMethod('GET')
  const { ask, keys } = NOUNS[name]!
  const refused = checkKeys(params, keys)
  if (refused !== undefined) return refused
  if (ask === 'flows') return flowsQuery(params)
  if (ask === 'config') return configQuery(params)
  if (ask === 'events') return eventsQuery(params)
  if (ask === 'trace') return traceQuery(params)
  if (ask === 'atoms') return atomsQuery(params)
  if (ask === 'capture') return captureQuery(params)
  return { ask }
}
