/**
 * The libp2p shell: TCP, private network key, Noise, Yamux, our protocols, and gossipsub (with identify, which it needs) if a bus
 * is wanted. What else libp2p does by itself (reconnecting, pinging, keeping addresses) is left out: liveness.ts decides.
 */
import type { Connection, ConnectionGater, PrivateKey, Stream } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p } from 'libp2p'
import { abortConnection } from './abort.ts'
import { ASK_PROTOCOL, MAX_ASKED } from './ask.ts'
import { Bus, type BusOptions, busServices, type Pubsub } from './bus.ts'
import { type Keyring, privateNetwork } from './protector.ts'

export const LINK_PROTOCOL = '/shunt/link/1'
/** Yamux's smallest window, kept: it bounds what one stream may have in flight in either direction. */
const STREAM_WINDOW_BYTES = 256 * 1024
const HANDSHAKE_TIMEOUT_MS = 3000
/** The link, identify and gossipsub both ways, questions. */
const STREAMS_PER_CONNECTION = 4 + MAX_ASKED
const WILDCARDS = new Set(['0.0.0.0', '::'])

export interface LinkNodeOptions {
  privateKey: PrivateKey
  keys: Keyring
  listen: { address: string; port: number }
  gater: ConnectionGater
  onStream(stream: Stream, connection: Connection): void
  /** A peer asks something (ask.ts). */
  onAsk?(stream: Stream, connection: Connection): void
  bus?: BusOptions | undefined
}

export interface LinkNode {
  start(): Promise<void>
  stop(): Promise<void>
  /** Ends all connections with a peer at once, also those that carry no link. */
  disconnect(id: string): void
  /** Undefined unless one was wanted, and before the start. */
  readonly bus: Bus | undefined
  /** A new connection to a peer and the link stream on it. Rejects when either fails. */
  dial(
    id: string,
    address: string,
    port: number,
    signal: AbortSignal,
  ): Promise<{ stream: Stream; connection: Connection }>
}

const tcpAddress = (address: string, port: number): string =>
  `/${address.includes(':') ? 'ip6' : 'ip4'}/${address}/tcp/${port}`

const build = async (options: LinkNodeOptions): Promise<Libp2p> => {
  const { address, port } = options.listen
  // Links leave from the address that the peers' configuration knows, also on a node with several.
  const dialOpts: Record<string, unknown> = WILDCARDS.has(address) ? {} : { localAddress: address }
  return createLibp2p({
    start: false,
    privateKey: options.privateKey,
    addresses: { listen: [tcpAddress(address, port)] },
    transports: [tcp({ dialOpts })],
    connectionProtector: privateNetwork(options.keys),
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        enableKeepAlive: false,
        maxInboundStreams: STREAMS_PER_CONNECTION,
        maxOutboundStreams: STREAMS_PER_CONNECTION,
        maxEarlyStreams: STREAMS_PER_CONNECTION,
        streamOptions: { maxStreamWindowSize: STREAM_WINDOW_BYTES },
      }),
    ],
    ...(options.bus !== undefined && { services: await busServices(options.bus.topic) }),
    connectionGater: options.gater,
    connectionMonitor: { enabled: false },
    connectionManager: {
      // Its limits count all addresses together and refuse the newest; the gater bounds each address instead.
      allow: ['/ip4/0.0.0.0/ipcidr/0', '/ip6/::/ipcidr/0'],
      reconnectRetries: 0,
      inboundUpgradeTimeout: HANDSHAKE_TIMEOUT_MS,
      inboundStreamProtocolNegotiationTimeout: HANDSHAKE_TIMEOUT_MS,
      outboundStreamProtocolNegotiationTimeout: HANDSHAKE_TIMEOUT_MS,
      maxConnections: 10_000,
    },
  })
}

/** What of a Yamux stream is used below; public fields there, but not part of libp2p's Stream. */
interface YamuxWindow {
  recvWindow: number
  recvWindowCapacity: number
  sendWindowUpdate(): void
}

/**
 * Yamux answers every data frame with a window update, which doubles the packets, and the CPU, of an idle link.
 * Put off until a quarter of the window is used up: the sender always has the other three quarters. Streams of
 * another make are left as they are.
 */
const saveWindowUpdates = (stream: Stream): Stream => {
  const window = stream as Stream & Partial<YamuxWindow>
  const update = window.sendWindowUpdate
  if (typeof update !== 'function') return stream
  window.sendWindowUpdate = function (this: YamuxWindow): void {
    const { recvWindow, recvWindowCapacity: left } = this
    // A full window asks for an update only to open the stream.
    if (left < recvWindow && left > recvWindow * 0.75) return
    update.call(this)
  }
  return stream
}

export const createLinkNode = (options: LinkNodeOptions): LinkNode => {
  let node: Libp2p | undefined
  let bus: Bus | undefined
  return {
    get bus() {
      return bus
    },
    async start() {
      node = await build(options)
      const onStream = (stream: Stream, connection: Connection): void =>
        options.onStream(saveWindowUpdates(stream), connection)
      await node.handle(LINK_PROTOCOL, onStream, {
        maxInboundStreams: 1,
        maxOutboundStreams: 1,
      })
      const { onAsk } = options
      if (onAsk !== undefined)
        await node.handle(ASK_PROTOCOL, onAsk, {
          maxInboundStreams: MAX_ASKED,
          maxOutboundStreams: MAX_ASKED,
        })
      await node.start()
      const { pubsub } = node.services as { pubsub?: Pubsub }
      if (options.bus !== undefined && pubsub !== undefined) bus = new Bus(pubsub, options.bus)
    },
    async stop() {
      bus = undefined
      await node?.stop()
      node = undefined
    },
    disconnect(id) {
      for (const connection of node?.getConnections(peerIdFromString(id)) ?? [])
        abortConnection(connection, 'no longer wanted')
    },
    async dial(id, address, port, signal) {
      if (node === undefined) throw new Error('the node is not started')
      const connection = await node.dial(multiaddr(`${tcpAddress(address, port)}/p2p/${id}`), {
        signal,
        force: true,
      })
      try {
        // The listener's gater refuses after dial() has resolved: only the stream proves that we are let in.
        return {
          connection,
          stream: saveWindowUpdates(await connection.newStream(LINK_PROTOCOL, { signal })),
        }
      } catch (error) {
        connection.abort(error instanceof Error ? error : new Error(String(error)))
        throw error
      }
    },
  }
}
