import type { PeerState } from '../gossip/peer.ts'
import type { EventLog } from './events.ts'

/** Turns what is known of a peer's agent into events: one for each change that an operator would tell apart. */
export const peerEvents = (events: EventLog): ((peer: PeerState) => void) => {
  const known = new Map<string, string>()
  return ({ name, state, draining, lastHeardMs }) => {
    const now = state === 'alive' && draining ? 'draining' : state
    if (known.get(name) === now) return
    known.set(name, now)
    if (now === 'alive') events.add('agent.up', 'info', name, `the agent of ${name} is in touch`)
    else if (now === 'draining')
      events.add('agent.draining', 'info', name, `${name} drains: it takes nothing new`)
    else if (now === 'dead') {
      const why = draining
        ? 'has said goodbye'
        : lastHeardMs === null
          ? 'has not been heard yet'
          : 'is not heard any more'
      events.add('agent.down', draining ? 'info' : 'warning', name, `the agent of ${name} ${why}`)
    }
  }
}
