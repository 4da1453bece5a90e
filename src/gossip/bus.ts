/**
 * Publications to all members at once: one gossipsub topic. It is the quick way only, nothing relies on it: what does not arrive
 * is found by the digests in heartbeats. Messages are signed by their sender (StrictSign); one whose signer is no member here
 * is neither delivered nor passed on. That is no fault of who passed it on, who may have learnt of a new member earlier, so
 * only wrong signatures count against a neighbour (topic score P4), until gossipsub stops listening to it.
 */
import type { Message } from '@libp2p/gossipsub'
import type { PeerId } from '@libp2p/interface'
import { type Bucket, type BucketSettings, takeTokens } from './bucket.ts'
import { RateByKey } from './rate-by-key.ts'

/** A statement (at most 196,608 bytes) and what is around it. */
export const MAX_PAYLOAD_BYTES = 200_000
const OUTGOING: BucketSettings = { ratePerS: 4, burst: 32 }
const INCOMING: BucketSettings = { ratePerS: 16, burst: 128 }
/** One answer may carry several messages that a neighbour missed. */
const MAX_RPC_BYTES = 4 * 1024 * 1024
const MAX_WAITING_BYTES = 4 * 1024 * 1024

export type BusCount =
  | 'published_out'
  | 'published_in'
  | 'publish_failed'
  | 'publish_dropped_rate'
  | 'publish_dropped_size'
  | 'published_dropped_rate'
  | 'published_unknown_signer'

export interface BusOptions {
  topic: string
  ownId: string
  isPeer(id: string): boolean
  onMessage(id: string, payload: Uint8Array): void
  count(what: BusCount): void
}

/** The libp2p services that a bus needs. Loaded only when one is wanted: a static cluster has none. */
export const busServices = async (topic: string) => {
  const [{ gossipsub }, { identify }] = await Promise.all([
    import('@libp2p/gossipsub'),
    import('@libp2p/identify'),
  ])
  const pubsub = gossipsub({
    globalSignaturePolicy: 'StrictSign',
    allowedTopics: [topic],
    allowPublishToZeroTopicPeers: true,
    emitSelf: false,
    fallbackToFloodsub: false,
    floodPublish: false,
    tagMeshPeers: false,
    D: 4,
    Dlo: 3,
    Dhi: 6,
    maxInboundStreams: 1,
    maxOutboundStreams: 1,
    maxInboundDataLength: MAX_RPC_BYTES,
    maxOutboundBufferSize: MAX_WAITING_BYTES,
    maxTopicBytesPerPeer: 4096,
    decodeRpcLimits: {
      maxSubscriptions: 16,
      maxMessages: 256,
      maxIhaveMessageIDs: 1000,
      maxIwantMessageIDs: 1000,
      maxControlMessages: 64,
      maxIdontwantMessageIDs: 512,
      maxPeerInfos: 16,
    },
    scoreParams: {
      // Several nodes may share an address (behind a NAT, in a test).
      IPColocationFactorWeight: 0,
      topics: {
        [topic]: {
          topicWeight: 1,
          timeInMeshWeight: 0,
          timeInMeshQuantum: 1000,
          timeInMeshCap: 1,
          firstMessageDeliveriesWeight: 0,
          firstMessageDeliveriesDecay: 0.5,
          firstMessageDeliveriesCap: 1,
          // Silence is normal: most of the time nobody publishes anything.
          meshMessageDeliveriesWeight: 0,
          meshMessageDeliveriesDecay: 0.5,
          meshMessageDeliveriesCap: 1,
          meshMessageDeliveriesThreshold: 1,
          meshMessageDeliveriesWindow: 10,
          meshMessageDeliveriesActivation: 5000,
          meshFailurePenaltyWeight: 0,
          meshFailurePenaltyDecay: 0.5,
          invalidMessageDeliveriesWeight: -1,
          invalidMessageDeliveriesDecay: 0.9,
        },
      },
    },
  })
  return { identify: identify({ timeout: 3000, maxMessageSize: 8192 }), pubsub }
}

export type Pubsub = ReturnType<Awaited<ReturnType<typeof busServices>>['pubsub']>

export class Bus {
  readonly #options: BusOptions
  readonly #pubsub: Pubsub
  readonly #incoming = new RateByKey(INCOMING)
  #outgoing: Bucket = { tokens: OUTGOING.burst, atMs: performance.now() }

  constructor(pubsub: Pubsub, options: BusOptions) {
    this.#pubsub = pubsub
    this.#options = options
    const { topic } = options
    pubsub.topicValidators.set(topic, (_: PeerId, message: Message) => this.#validate(message))
    pubsub.addEventListener('message', ({ detail: message }) => {
      if (message.type !== 'signed' || message.topic !== topic) return
      options.count('published_in')
      options.onMessage(message.from.toString(), message.data)
    })
    pubsub.subscribe(topic)
  }

  /** False (and counted) above the size or the rate. */
  publish(payload: Uint8Array): boolean {
    const { count, topic } = this.#options
    if (payload.length > MAX_PAYLOAD_BYTES) {
      count('publish_dropped_size')
      return false
    }
    const { bucket, waitMs } = takeTokens(this.#outgoing, 1, performance.now(), OUTGOING)
    if (waitMs > 0) {
      count('publish_dropped_rate')
      return false
    }
    this.#outgoing = bucket
    count('published_out')
    this.#pubsub.publish(topic, payload).catch(() => count('publish_failed'))
    return true
  }

  #validate(message: Message): ReturnType<import('@libp2p/gossipsub').TopicValidatorFn> {
    const ignore = 'ignore' as import('@libp2p/gossipsub').TopicValidatorResult.Ignore
    const accept = 'accept' as import('@libp2p/gossipsub').TopicValidatorResult.Accept
    if (message.type !== 'signed' || message.data.length > MAX_PAYLOAD_BYTES) return ignore
    const { count, isPeer, ownId } = this.#options
    const id = message.from.toString()
    if (id === ownId) return ignore
    if (!isPeer(id)) {
      count('published_unknown_signer')
      return ignore
    }
    if (!this.#incoming.take(id, performance.now())) {
      count('published_dropped_rate')
      return ignore
    }
    return accept
  }
}
