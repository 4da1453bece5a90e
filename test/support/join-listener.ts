/** The issuer's side of the two nonces over a plain TCP server, as the control port does it, for tests of the join protocol. */
import { randomBytes } from 'node:crypto'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { SocketReader } from '../../src/cluster/socket-reader.ts'
import { helloNonce, NONCE_BYTES, NONCE_RANDOM_BYTES, nonceMatches } from '../../src/gossip/hello-nonce.ts'
import type { JoinHook } from '../../src/gossip/joins.ts'

export interface JoinListener {
  port: number
  /** Connections whose nonce no key made. */
  strangers: number
  /** What serve() rejected with. */
  failures: unknown[]
  close(): Promise<void>
}

export const listenForJoins = async (hook: JoinHook, address = '127.0.0.1'): Promise<JoinListener> => {
  const open = new Set<Socket>()
  const serve = async (socket: Socket): Promise<void> => {
    const reader = new SocketReader(socket)
    const theirs = await reader.read(NONCE_BYTES)
    const found = hook.keys().find(({ key }) => nonceMatches(key, theirs))
    if (found === undefined) {
      listener.strangers++
      return
    }
    const ours = helloNonce(found.key, randomBytes(NONCE_RANDOM_BYTES))
    reader.write(ours)
    await hook.serve({
      ...found,
      ours,
      theirs,
      remoteAddress: socket.remoteAddress ?? '',
      read: count => reader.read(count),
      write: bytes => new Promise(resolve => socket.write(bytes, () => resolve())),
    })
  }
  const server = createServer(socket => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    serve(socket)
      .catch(error => listener.failures.push(error))
      .finally(() => socket.end())
  })
  await new Promise<void>(resolve => server.listen(0, address, resolve))
  const listener: JoinListener = {
    port: (server.address() as AddressInfo).port,
    strangers: 0,
    failures: [],
    close: () => {
      for (const socket of open) socket.destroy()
      return new Promise(resolve => server.close(() => resolve()))
    },
  }
  return listener
}
