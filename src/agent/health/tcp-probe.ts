/** A TCP probe: the endpoint accepts a connection. */
import { connect } from 'node:net'
import { portOf } from '../../health/probe/target.ts'
import { bad, failureText, good, type ProbeRun } from './probe-run.ts'

export const probeTcp: ProbeRun = (target, signal) =>
  new Promise(resolve => {
    const socket = connect({
      host: target.address,
      // A virtual IP that is not here would be somebody else's endpoint.
      localAddress: target.address,
      port: portOf(target),
      signal,
    })
    socket.on('connect', () => {
      resolve(good('connected'))
      socket.destroy()
    })
    socket.on('error', error => resolve(bad(signal.aborted ? 'no connection' : failureText(error))))
  })
