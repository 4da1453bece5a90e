/**
 * The applications' socket, apart from the operator's (architecture decision 10). Any local process may connect; the
 * kernel says which one it is, and it is told only of itself.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Answer, refusal } from '../control/answer.ts'
import { REPORT_SCHEMA, type ReportData, WHOAMI_SCHEMA, type WhoamiData } from '../control/app-types.ts'
import { closeServer, createBoundedServer, hasBody, sendAnswer } from '../control/http.ts'
import { listenOn } from '../control/unix-socket.ts'
import { errorText } from '../errors.ts'
import { RateByKey } from '../gossip/rate-by-key.ts'
import { type Listening, type ListeningSocket, listeningOf } from '../os/listening.ts'
import { type PeerProcess, peerProcess } from '../os/peer-cred.ts'
import { parseReport, type ReportQuery } from './app-report.ts'

const MAX_CONNECTIONS = 64
/** So that no user can shut the others out. */
const MAX_CONNECTIONS_OF_A_USER = 16
/** Requests of one user: an answer costs a walk over the descriptors of a process. */
const RATE = { ratePerS: 10, burst: 20 }

/** A service of the cluster, and the hosts that may serve it. */
export interface AppService {
  name: string
  vip: string
  port: number
  protocol: string
  hosts: readonly { name: string }[]
}
export interface AppServerOptions {
  /** node.appSocket */
  socketPath: string
  /** Name of this node. */
  node: string
  /** Services in force now. */
  services(): readonly AppService[]
  /** What a process listens on; from /proc unless a test says otherwise. */
  listeners?(pid: number): Promise<Listening>
  /** An application says how it is; false: nothing of that service listens here as far as the table knows yet. */
  report(service: string, report: Omit<ReportQuery, 'service'>, pid: number): boolean
  log: { error(fields: object, message: string): void }
}
export interface AppServer {
  close(): Promise<void>
}

const ANY = ['0.0.0.0', '::']

/** Names of the services that a socket of this node serves. Pure. */
export const servedBy = (socket: ListeningSocket, node: string, services: readonly AppService[]): string[] =>
  services
    .filter(
      service =>
        service.protocol === socket.protocol &&
        service.port === socket.port &&
        (ANY.includes(socket.address) || socket.address === service.vip) &&
        service.hosts.some(host => host.name === node),
    )
    .map(service => service.name)

/** What each user has open and has asked, in bounded memory. */
class Users {
  readonly #open = new Map<number, number>()
  readonly #rates = new RateByKey(RATE)

  connect(uid: number): boolean {
    const open = this.#open.get(uid) ?? 0
    if (open >= MAX_CONNECTIONS_OF_A_USER) return false
    this.#open.set(uid, open + 1)
    return true
  }

  disconnect(uid: number): void {
    const open = (this.#open.get(uid) ?? 1) - 1
    if (open === 0) this.#open.delete(uid)
    else this.#open.set(uid, open)
  }

  /** Whether the user may ask now. */
  mayAsk(uid: number, nowMs: number): boolean {
    return this.#rates.take(String(uid), nowMs)
  }
}

const notYours = (): Answer =>
  refusal(
    403,
    'refused',
    'the process that opened this connection has ended, changed its user, or is out of sight',
  )

const envelopeOf = (options: AppServerOptions, schema: string, data: unknown): Answer => ({
  status: 200,
  body: `${JSON.stringify({ schema, node: options.node, time: new Date().toISOString(), data })}\n`,
})

/** What the process listens on, if it is still the one that connected. */
const lookAt = async (options: AppServerOptions, peer: PeerProcess): Promise<Listening | null> => {
  if (peer.pid <= 0) return null
  const listening = await (options.listeners ?? listeningOf)(peer.pid)
  // A privileged program may have taken the process over since it connected; and a number is only its own while it lives.
  const gained = peer.uid !== 0 && listening.uid !== peer.uid
  return gained || !peer.isAlive() ? null : listening
}

const served = (options: AppServerOptions, listening: Listening): string[] =>
  listening.sameNetwork
    ? (listening.sockets ?? []).flatMap(socket => servedBy(socket, options.node, options.services()))
    : []

const report = async (
  options: AppServerOptions,
  peer: PeerProcess,
  { service, ...said }: ReportQuery,
): Promise<Answer> => {
  const listening = await lookAt(options, peer)
  if (listening === null) return notYours()
  const own = [...new Set(served(options, listening))]
  if (service !== null && !own.includes(service))
    return refusal(
      403,
      'refused',
      `your process (${peer.pid}) serves no service ${service} on this node; see /v1/whoami`,
    )
  const asked = service === null ? own : [service]
  if (asked.length === 0)
    return refusal(
      403,
      'refused',
      `your process (${peer.pid}) serves no service of this node; see /v1/whoami`,
    )
  const taken = asked.filter(name => options.report(name, said, peer.pid))
  if (taken.length === 0)
    return refusal(503, 'busy', 'the agent has not seen your socket yet; try again in half a second')
  return envelopeOf(options, REPORT_SCHEMA, { services: taken } satisfies ReportData)
}

const whoami = async (options: AppServerOptions, peer: PeerProcess): Promise<Answer> => {
  const listening = await lookAt(options, peer)
  if (listening === null) return notYours()
  const services = listening.sameNetwork ? options.services() : []
  const data: WhoamiData = {
    pid: peer.pid,
    uid: peer.uid,
    gid: peer.gid,
    sameNetwork: listening.sameNetwork,
    truncated: listening.truncated,
    listeners:
      listening.sockets?.map(socket => ({ ...socket, services: servedBy(socket, options.node, services) })) ??
      null,
  }
  return envelopeOf(options, WHOAMI_SCHEMA, data)
}

type Asked = { ask: 'whoami' } | { ask: 'report'; query: ReportQuery }

const route = (req: IncomingMessage): Asked | Answer => {
  const [path, query] = (req.url ?? '').split('?', 2) as [string, string | undefined]
  const method = { '/v1/whoami': 'GET', '/v1/report': 'POST' }[path]
  if (method === undefined || (method === 'GET' && query !== undefined))
    return refusal(
      404,
      'not_found',
      'there is no such path on this socket; there are /v1/whoami and /v1/report?health=...&load=...',
    )
  if (req.method !== method)
    return {
      ...refusal(405, 'method_not_allowed', `this path takes only ${method}`),
      allow: method as 'GET' | 'POST',
    }
  if (hasBody(req)) return refusal(413, 'too_large', 'a request has no body here')
  if (method === 'GET') return { ask: 'whoami' }
  const parsed = parseReport(new URLSearchParams(query))
  return typeof parsed === 'string' ? refusal(400, 'bad_query', parsed) : { ask: 'report', query: parsed }
}

const fdOf = (socket: Socket): number =>
  (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1

const GONE = ['ENOENT', 'ESRCH']

/**
 * Serves the applications' socket, mode 0666: at most 64 connections, 16 of one user.
 * @throws ShuntError SHUNT_ERR_OS when another agent answers there, or the path cannot be used
 */
export const startAppServer = async (options: AppServerOptions): Promise<AppServer> => {
  const users = new Users()
  const peers = new WeakMap<Socket, PeerProcess>()
  // One at a time: however many ask, one walk over /proc is at work.
  let turn: Promise<unknown> = Promise.resolve()

  const answer = async (req: IncomingMessage): Promise<Answer> => {
    const asked = route(req)
    if ('status' in asked) return asked
    const peer = peers.get(req.socket)!
    if (!users.mayAsk(peer.uid, performance.now()))
      return refusal(503, 'busy', `a user may ask ${RATE.ratePerS} times a second; try again`)
    const mine = turn.then(() =>
      asked.ask === 'whoami' ? whoami(options, peer) : report(options, peer, asked.query),
    )
    turn = mine.catch(() => {})
    return mine
  }

  const handle = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    try {
      sendAnswer(res, await answer(req))
    } catch (error) {
      if (GONE.includes((error as NodeJS.ErrnoException).code ?? '')) return sendAnswer(res, notYours())
      options.log.error({ err: errorText(error) }, 'application request failed')
      sendAnswer(res, refusal(500, 'internal', 'the agent could not answer; its log has more'))
    }
  }

  const admit = (socket: Socket): { refused: string } | { onClose(): void } => {
    let peer: PeerProcess
    try {
      peer = peerProcess(fdOf(socket))
    } catch {
      return { refused: 'the kernel does not say who you are' }
    }
    if (!users.connect(peer.uid)) {
      peer.close()
      return { refused: `your user has ${MAX_CONNECTIONS_OF_A_USER} connections already; close some` }
    }
    peers.set(socket, peer)
    return {
      onClose: () => {
        users.disconnect(peer.uid)
        peer.close()
      },
    }
  }

  const server = createBoundedServer({ maxConnections: MAX_CONNECTIONS, admit, handle })
  await listenOn(server, { path: options.socketPath, mode: 0o666, setting: 'node.appSocket' })
  server.on('error', error => options.log.error({ err: errorText(error) }, 'application socket failed'))
  return { close: () => closeServer(server) }
}
