/**
 * The applications' socket, apart from the operator's (architecture decision 10). Any local process may connect; the
 * kernel says which one it is, and it is told only of itself.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Answer, refusal } from '../control/answer.ts'
import { WHOAMI_SCHEMA, type WhoamiData } from '../control/app-types.ts'
import { closeServer, createBoundedServer, hasBody, sendAnswer } from '../control/http.ts'
import { listenOn } from '../control/unix-socket.ts'
import { errorText } from '../errors.ts'
import { type Bucket, takeTokens } from '../gossip/bucket.ts'
import { type Listening, type ListeningSocket, listeningOf } from '../os/listening.ts'
import { type PeerProcess, peerProcess } from '../os/peer-cred.ts'

const MAX_CONNECTIONS = 64
/** So that no user can shut the others out. */
const MAX_CONNECTIONS_OF_A_USER = 16
/** Requests of one user: an answer costs a walk over the descriptors of a process. */
const RATE = { ratePerS: 10, burst: 20 }
/** Users whose rate is remembered while they are not connected. */
const MAX_USERS = 1_024

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
  readonly #buckets = new Map<number, Bucket>()

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
    const before = this.#buckets.get(uid) ?? { tokens: RATE.burst, atMs: nowMs }
    const { bucket, waitMs } = takeTokens(before, 1, nowMs, RATE)
    if (waitMs > 0) return false
    this.#buckets.delete(uid)
    this.#buckets.set(uid, bucket)
    if (this.#buckets.size > MAX_USERS) this.#buckets.delete(this.#buckets.keys().next().value!)
    return true
  }
}

const notYours = (): Answer =>
  refusal(
    403,
    'refused',
    'the process that opened this connection has ended, changed its user, or is out of sight',
  )

const whoami = async (options: AppServerOptions, peer: PeerProcess): Promise<Answer> => {
  if (peer.pid <= 0) return notYours()
  const listening = await (options.listeners ?? listeningOf)(peer.pid)
  // A privileged program may have taken the process over since it connected; and a number is only its own while it lives.
  const gained = peer.uid !== 0 && listening.uid !== peer.uid
  if (gained || !peer.isAlive()) return notYours()
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
  const envelope = { schema: WHOAMI_SCHEMA, node: options.node, time: new Date().toISOString(), data }
  return { status: 200, body: `${JSON.stringify(envelope)}\n` }
}

const route = (req: IncomingMessage): Answer | undefined => {
  if (req.url !== '/v1/whoami')
    return refusal(404, 'not_found', 'there is no such path on this socket; there is /v1/whoami')
  if (req.method !== 'GET')
    return { ...refusal(405, 'method_not_allowed', 'this path takes only GET'), allow: 'GET' }
  return hasBody(req) ? refusal(413, 'too_large', 'a request has no body here') : undefined
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
    const refused = route(req)
    if (refused !== undefined) return refused
    const peer = peers.get(req.socket)!
    if (!users.mayAsk(peer.uid, performance.now()))
      return refusal(503, 'busy', `a user may ask ${RATE.ratePerS} times a second; try again`)
    const mine = turn.then(() => whoami(options, peer))
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
