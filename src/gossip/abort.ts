import type { Connection } from '@libp2p/interface'

/** Ends a connection at once. libp2p's own throws where a handler of the first abort aborts again. */
export const abortConnection = (connection: Connection, reason: string): void => {
  if (connection.status !== 'open' && connection.status !== 'closing') return
  try {
    connection.abort(new Error(reason))
  } catch {
    // It was aborted meanwhile, which is what was wanted.
  }
}
