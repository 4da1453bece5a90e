/**
 * Who gets past the control port. The port is open to whoever reaches the cluster network, so what is not a
 * finished handshake is bounded: the oldest unfinished one gives way to a new one, because a real peer finishes in
 * milliseconds while idle connections would otherwise fill every place and keep real peers out.
 */
import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface'

export interface AdmissionLimits {
  pending: number
  pendingPerAddress: number
}
export const ADMISSION: Readonly<AdmissionLimits> = { pending: 256, pendingPerAddress: 64 }

export type AdmissionCount =
  | 'inbound_connections'
  | 'inbound_handshake_evicted'
  | 'inbound_handshake_failed'
  | 'inbound_unknown_identity'
  | 'inbound_wrong_direction'

export interface AdmissionOptions {
  ownId: string
  isPeer(id: string): boolean
  /** No new link is wanted any more. */
  closing(): boolean
  count(what: AdmissionCount): void
  /** A node that has the network key, but whose identity is not configured. */
  onStranger(id: string, address: string): void
  limits?: AdmissionLimits
}

const addressOf = (connection: MultiaddrConnection): string =>
  connection.remoteAddr.toString().split('/')[2] ?? ''

/** The side with the lower peer id dials, so that a pair never has two links. */
export const dialsTo = (ownId: string, peerId: string): boolean => ownId < peerId

export const createGater = (options: AdmissionOptions): ConnectionGater => {
  const { ownId, count, limits = ADMISSION } = options
  // In order of arrival; a Map keeps it.
  const pending = new Map<MultiaddrConnection, string>()

  const makeRoom = (address: string): void => {
    let total = 0
    let same = 0
    let oldest: MultiaddrConnection | undefined
    let oldestSame: MultiaddrConnection | undefined
    for (const [connection, from] of pending) {
      total++
      oldest ??= connection
      if (from !== address) continue
      same++
      oldestSame ??= connection
    }
    const victim =
      same >= limits.pendingPerAddress ? oldestSame : total >= limits.pending ? oldest : undefined
    if (victim === undefined) return
    pending.delete(victim)
    count('inbound_handshake_evicted')
    victim.abort(new Error('too many unfinished handshakes'))
  }

  return {
    denyDialMultiaddr: () => false,
    denyDialPeer: (id: PeerId) => !options.isPeer(id.toString()),
    denyOutboundEncryptedConnection: (id: PeerId) => !options.isPeer(id.toString()),
    denyInboundConnection: (connection: MultiaddrConnection) => {
      count('inbound_connections')
      if (options.closing()) return true
      const address = addressOf(connection)
      makeRoom(address)
      pending.set(connection, address)
      connection.addEventListener('close', () => {
        if (pending.delete(connection)) count('inbound_handshake_failed')
      })
      return false
    },
    denyInboundEncryptedConnection: (peer: PeerId, connection: MultiaddrConnection) => {
      const id = peer.toString()
      if (options.closing()) return true
      if (!options.isPeer(id)) {
        pending.delete(connection)
        count('inbound_unknown_identity')
        options.onStranger(id, addressOf(connection))
        return true
      }
      if (dialsTo(ownId, id)) {
        pending.delete(connection)
        count('inbound_wrong_direction')
        return true
      }
      return false
    },
    denyInboundUpgradedConnection: (_peer: PeerId, connection: MultiaddrConnection) => {
      pending.delete(connection)
      return false
    },
  }
}
