/** One kept stream on its own connection: bytes in, frames out, bounded in both directions. */
import type { Connection, Stream, StreamMessageEvent } from '@libp2p/interface'
import { errorText } from '../errors.ts'
import { abortConnection } from './abort.ts'
import { type Bucket, type BucketSettings, takeTokens } from './bucket.ts'
import type { DecodedFrame } from './frame-format.ts'
import { FrameReader } from './frame-reader.ts'

/** More than this waiting to be sent, and frames are dropped (counted by the caller). */
export const MAX_QUEUED_BYTES = 4 * 1024 * 1024
/** What one peer may make us read; beyond it the stream is paused, which makes the peer's queue grow instead. */
const INBOUND: BucketSettings = { ratePerS: 16 * 1024 * 1024, burst: 4 * 1024 * 1024 }
/** Small frames cost more than their bytes: with this price a peer gets at most 32k frames a second. */
const FRAME_PRICE_BYTES = 512
/** Waiting frames are handed on in pieces of this size: libp2p's own queue is slow with many small ones. */
const PIECE_BYTES = 64 * 1024
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
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #isFlushDue = false
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
    stream.addEventListener('drain', () => this.#flush())
    if (stream.status !== 'open') queueMicrotask(lost)
  }

  get connection(): Connection {
    return this.#connection
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    return this.#open ? this.#waitingBytes + this.#stream.writeBufferLength : 0
  }

  /**
   * False if the link is closed or more than MAX_QUEUED_BYTES would wait. Frames of one turn leave together: each piece of its own
   * would cost a packet, with 82 bytes around what is said (bench/framing.ts).
   */
  send(frame: Uint8Array): boolean {
    if (!this.#open) return false
    if (this.queuedBytes + frame.length > MAX_QUEUED_BYTES) return false
    this.#waiting.push(frame)
    this.#waitingBytes += frame.length
    if (this.#isFlushDue) return true
    this.#isFlushDue = true
    queueMicrotask(() => {
      this.#isFlushDue = false
      this.#flush()
    })
    return true
  }

  #flush(): void {
    try {
      while (this.#open && this.#waiting.length > 0 && !this.#stream.writableNeedsDrain)
        this.#stream.send(this.#piece())
    } catch {
      // Closed for writing: its close event is on its way, or has been seen.
      this.#waiting = []
      this.#waitingBytes = 0
    }
  }

  /** Takes at least one waiting frame, and more up to PIECE_BYTES. */
  #piece(): Uint8Array {
    let count = 0
    let bytes = 0
    for (const frame of this.#waiting) {
      if (count > 0 && bytes + frame.length > PIECE_BYTES) break
      bytes += frame.length
      count++
    }
    const frames = this.#waiting.splice(0, count)
    this.#waitingBytes -= bytes
    return count === 1 ? frames[0]! : Buffer.concat(frames, bytes)
  }

  /** Closes at once; what is queued is lost. */
  close(reason: string): void {
    if (!this.#shut()) return
    abortConnection(this.#connection, reason)
  }

  /** Closes after what is queued has been handed to the kernel, or after half a second. */
  async finish(): Promise<void> {
    if (!this.#shut()) return
    try {
      const signal = AbortSignal.timeout(FLUSH_MS)
      if (this.#waiting.length > 0) this.#stream.send(Buffer.concat(this.#waiting.splice(0)))
      await this.#stream.close({ signal })
      await this.#connection.close({ signal })
    } catch (error) {
      abortConnection(this.#connection, errorText(error))
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
    abortConnection(this.#connection, 'link lost')
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
    // Not now: this may run inside the stream's resume(), which would undo half of a pause.
    queueMicrotask(() => this.#tryStream(() => this.#stream.pause()))
    this.#resume = setTimeout(() => {
      this.#resume = undefined
      this.#tryStream(() => this.#stream.resume())
    }, waitMs)
  }

  /** Pausing and resuming throw on a stream that is about to close; its close event follows. */
  #tryStream(call: () => void): void {
    if (!this.#open) return
    try {
      call()
    } catch {
      this.#lost()
    }
  }
}
