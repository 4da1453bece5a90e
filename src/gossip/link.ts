/** One kept stream on its own connection: bytes in, frames out, bounded in both directions. */
import type { Connection, Stream, StreamMessageEvent } from '@libp2p/interface'
import { type Bucket, type BucketSettings, takeTokens } from './bucket.ts'
import type { DecodedFrame } from './frame-format.ts'
import { FrameReader } from './frame-reader.ts'

/** More than this waiting to be sent, and frames are dropped (counted by the caller). */
export const MAX_QUEUED_BYTES = 4 * 1024 * 1024
/** What one peer may make us read; beyond it the stream is paused, which makes the peer's queue grow instead. */
const INBOUND: BucketSettings = { ratePerS: 16 * 1024 * 1024, burst: 4 * 1024 * 1024 }
/** Small frames cost more than their bytes: with this price a peer gets at most 32k frames a second. */
const FRAME_PRICE_BYTES = 512
const FLUSH_MS = 500

export interface LinkHandlers {
  onFrames(frames: DecodedFrame[]): void
  /** Once, unless close() or finish() came first; `error` is set when the peer's bytes were invalid. */
  onClosed(error?: unknown): void
  onPaused(): void
  onBytes(bytes: number): void
  onSkipped(frames: number): void
}

export class Link {
  readonly #stream: Stream
  readonly #connection: Connection
  readonly #handlers: LinkHandlers
  readonly #reader = new FrameReader()
  #bucket: Bucket = { tokens: INBOUND.burst, atMs: performance.now() }
  #resume: NodeJS.Timeout | undefined
  #open = true

  constructor(stream: Stream, connection: Connection, handlers: LinkHandlers) {
    this.#stream = stream
    this.#connection = connection
    this.#handlers = handlers
    const lost = () => this.#lost()
    stream.addEventListener('close', lost)
    stream.addEventListener('remoteCloseWrite', lost)
    connection.addEventListener('close', lost)
    stream.addEventListener('message', event => this.#read(event))
    if (stream.status !== 'open') queueMicrotask(lost)
  }

  get queuedBytes(): number {
    return this.#open ? this.#stream.writeBufferLength : 0
  }

  /** False if the link is closed or more than MAX_QUEUED_BYTES would wait. */
  send(frame: Uint8Array): boolean {
    if (!this.#open || this.#stream.writeBufferLength + frame.length > MAX_QUEUED_BYTES) return false
    try {
      this.#stream.send(frame)
      return true
    } catch {
      return false
    }
  }

  /** Closes at once; what is queued is lost. */
  close(reason: string): void {
    if (!this.#shut()) return
    this.#connection.abort(new Error(reason))
  }

  /** Closes after what is queued has been handed to the kernel, or after half a second. */
  async finish(): Promise<void> {
    if (!this.#shut()) return
    try {
      const signal = AbortSignal.timeout(FLUSH_MS)
      await this.#stream.close({ signal })
      await this.#connection.close({ signal })
    } catch (error) {
      this.#connection.abort(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #shut(): boolean {
    const wasOpen = this.#open
    this.#open = false
    clearTimeout(this.#resume)
    return wasOpen
  }

  #lost(error?: unknown): void {
    if (!this.#shut()) return
    this.#connection.abort(new Error('link lost'))
    this.#handlers.onClosed(error)
  }

  #read({ data }: StreamMessageEvent): void {
    if (!this.#open) return
    this.#handlers.onBytes(data.byteLength)
    let frames: DecodedFrame[]
    try {
      frames = this.#reader.push(data.subarray())
    } catch (error) {
      this.#lost(error)
      return
    }
    const skipped = this.#reader.skipped
    this.#reader.skipped = 0
    if (skipped > 0) this.#handlers.onSkipped(skipped)
    this.#charge(data.byteLength + FRAME_PRICE_BYTES * (frames.length + skipped))
    this.#handlers.onFrames(frames)
  }

  #charge(cost: number): void {
    const { bucket, waitMs } = takeTokens(this.#bucket, cost, performance.now(), INBOUND)
    this.#bucket = bucket
    if (waitMs === 0 || this.#resume !== undefined) return
    this.#handlers.onPaused()
    this.#stream.pause()
    this.#resume = setTimeout(() => {
      this.#resume = undefined
      if (this.#open && this.#stream.status === 'open') this.#stream.resume()
    }, waitMs)
  }
}
