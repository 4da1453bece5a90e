/** One `up` or `down` of a lab at a time. */
import { createServer } from 'node:net'
import { ShuntError } from '../errors.ts'

/**
 * The lock is an abstract Unix socket: the kernel frees it however its holder ends, so it is never stale.
 * @returns the function that frees it
 * @throws ShuntError SHUNT_ERR_LAB when another process holds it
 */
export const lockLab = (name: string): Promise<() => void> =>
  new Promise((resolve, reject) => {
    const server = createServer(socket => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new ShuntError(
              'SHUNT_ERR_LAB',
              `lab ${name} is being built or removed by another process; wait for it to end`,
            )
          : error,
      ),
    )
    server.listen({ path: `\0shunt-lab/${name}` }, () => {
      server.unref()
      resolve(() => server.close())
    })
  })
