/** For commands that work on a node's files and must be alone with them. */
import { connect } from 'node:net'
import { ShuntError } from '../errors.ts'

/** Whether somebody takes connections there; a socket that a dead agent left does not. */
const answers = (socketPath: string): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(socketPath)
    const end = (running: boolean) => (): void => {
      socket.destroy()
      resolve(running)
    }
    socket.once('connect', end(true))
    socket.once('error', end(false))
  })

/** @throws ShuntError SHUNT_ERR_GUARD */
export const refuseWhileAgentRuns = async (socketPath: string): Promise<void> => {
  if (await answers(socketPath))
    throw new ShuntError(
      'SHUNT_ERR_GUARD',
      `an agent runs here (it answers on ${socketPath}): stop it first (systemctl stop shunt)`,
    )
}
