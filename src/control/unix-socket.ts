/** Listening on a Unix socket that only its intended users may reach, and taking over what a dead agent left. */
import { lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { errorText, ShuntError } from '../errors.ts'

/** sun_path, without its final zero. */
const MAX_SOCKET_PATH = 107

export interface SocketPlace {
  path: string
  /** 0o660 or 0o666. */
  mode: number
  /** The key of the node file that names the path, for messages. */
  setting: string
}

/** True if something accepts connections on the socket. */
const isLive = (path: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
      // A full backlog is somebody who lives.
      else if (error.code === 'EAGAIN') resolve(true)
      else reject(error)
    })
  })

/** Removes what a dead agent left; never the socket of a live one, and never anything but a socket. */
const removeStale = async ({ path, setting }: SocketPlace): Promise<void> => {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket())
    throw new ShuntError('SHUNT_ERR_OS', `${path} exists and is not a socket; remove it or set ${setting}`)
  if (await isLive(path))
    throw new ShuntError('SHUNT_ERR_OS', `another agent answers on ${path}; stop it or set ${setting}`)
  unlinkSync(path)
}

const bind = (server: Server, { path, mode }: SocketPlace): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    // The socket is created with its final mode: nobody may connect between the bind and a chmod.
    const umask = process.umask(0o777 & ~mode)
    try {
      server.listen(path, () => {
        server.off('error', reject)
        resolve()
      })
    } finally {
      process.umask(umask)
    }
  })

/**
 * Makes the directory if need be, and listens; closes the server when that fails.
 * @throws ShuntError SHUNT_ERR_OS when another agent answers there, or the path cannot be used
 */
export const listenOn = async (server: Server, place: SocketPlace): Promise<void> => {
  const { path, setting } = place
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `the socket path ${path} is longer than ${MAX_SOCKET_PATH} bytes; set a shorter ${setting}`,
    )
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
    await removeStale(place)
    await bind(server, place)
  } catch (cause) {
    server.close()
    if (cause instanceof ShuntError) throw cause
    throw new ShuntError('SHUNT_ERR_OS', `cannot serve the socket ${path}: ${errorText(cause)}`, { cause })
  }
}
