/** Whether other nodes' agents listen, asked of their control ports; nothing is sent. */
import { connect } from 'node:net'
import type { NodeRow } from '../control/types.ts'

const PATIENCE_MS = 1000
/** A few are enough to judge by. */
const MAX_ASKED = 16

const takesConnections = (host: string, port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect({ host, port, timeout: PATIENCE_MS })
    const end = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(false))
    socket.once('error', () => end(false))
  })

/** Names of those nodes that are not in touch with this one though their control port takes connections. */
export const listeningOutOfTouch = async (rows: readonly NodeRow[], port: number): Promise<string[]> => {
  const silent = rows.filter(({ self, agent }) => !self && agent !== 'alive').slice(0, MAX_ASKED)
  const answers = await Promise.all(silent.map(({ address }) => takesConnections(address, port)))
  return silent.filter((_, i) => answers[i]).map(({ name }) => name)
}
