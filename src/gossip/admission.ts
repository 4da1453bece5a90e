/**
 * Who gets past the control port. The port is open to whoever reaches the cluster network, so what is not a
 * finished handshake is bounded: the oldest unfinished one gives way to a new one, because a real peer finishes in
 * milliseconds while idle connections would otherwise fill every place and keep real peers out.
 */
import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface'
import type { BucketSettings } from './bucket.ts'
import { RateByKey } from './rate-by-key.ts'

export interface AdmissionLimits {
  pending: number
  pendingPerAddress: number
  /** New connections of one address; more are closed before anything is read. */
  perAddress: BucketSettings
}
export const ADMISSION: Readonly<AdmissionLimits> = {
  pending: 256,
  pendingPerAddress: 64,
  perAddress: { ratePerS: 50, burst: 100 },
}

export type AdmissionCount =
  | 'inbound_connections'
  | 'inbound_handshake_evicted'
  | 'inbound_handshake_failed'
  | 'inbound_unknown_identity'
  | 'inbound_wrong_direction'
  | 'inbound_rate_limited'

export interface AdmissionOptions {
  ownId: string
  isPeer(id: string): boolean
  /** No new link is wanted any more. */
  closing(): boolean
  count(what: AdmissionCount): void
  /** A node that has the network key, but whose identity is not configured. */
  onStranger(id: string, address: string): void
  /** A peer has called and is let in: what is left of an earlier connection of it has to go first. */
  onAdmitted(id: string): void
  limits?: AdmissionLimits
}

const addressOf = (connection: MultiaddrConnection): string =>
  connection.remoteAddr.toString().split('/')[2] ?? ''

/** The side with the lower peer id dials, so that a pair never has two links. */
export const dialsTo = (ownId: string, peerId: string): boolean => ownId < peerId

export interface Admission extends ConnectionGater {
  /** This connection has turned out to be something else than a peer's. */
  release(connection: MultiaddrConnection): void
}

export const createGater = (options: AdmissionOptions): Admission => {
  const { ownId, count, limits = ADMISSION } = options
  // In order of arrival; a Map keeps it.
  const pending = new Map<MultiaddrConnection, string>()
  const rate = new RateByKey(limits.perAddress)

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
      if (!rate.take(address, performance.now())) {
        count('inbound_rate_limited')
        return true
      }
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
    denyInboundUpgradedConnection: (peer: PeerId, connection: MultiaddrConnection) => {
      pending.delete(connection)
      const id = peer.toString()
      // It may have been taken out of the peers in the meantime.
      if (options.closing() || !options.isPeer(id)) return true
      options.onAdmitted(id)
      return false
    },
    denyOutboundUpgradedConnection: (peer: PeerId) => options.closing() || !options.isPeer(peer.toString()),
    release: (connection: MultiaddrConnection) => void pending.delete(connection),
  }
}
