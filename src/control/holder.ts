/** Who holds a control socket that gives no answer: the kernel takes connections for an agent that hangs or is stopped. */
import { connect, type Socket } from 'node:net'

const PATIENCE_MS = 1_000

const connected = (path: string): Promise<Socket | null> =>
  new Promise(resolve => {
    // A text of digits alone would be a port.
    const socket = connect({ path })
    const end = (answer: Socket | null): void => {
      clearTimeout(timer)
      resolve(answer)
    }
    const timer = setTimeout(() => {
      socket.destroy()
      end(null)
    }, PATIENCE_MS)
    socket.once('connect', () => end(socket))
    socket.on('error', () => end(null))
  })

/** Pid of the process that listens there; `null` when none does, or it cannot be known. Never rejects. */
export const holderOf = async (path: string): Promise<number | null> => {
  const socket = await connected(path).catch(() => null)
  if (socket === null) return null
  try {
    const { peerCredentials } = await import('../os/peer-cred.ts')
    const { pid } = peerCredentials((socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1)
    // 0: it runs in a PID namespace that cannot be seen from here.
    return pid > 0 ? pid : null
  } catch {
    return null
  } finally {
    socket.destroy()
  }
}
