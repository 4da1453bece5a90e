/**
 * What goes to members, behind what is urgent on the same links: heartbeats and routes share them. A queue a member, bounded, at a bounded
 * pace; what is asked and answered for a packet that waits overtakes it. Pure: effects through the ports.
 */
import { type Bucket, takeTokens } from '../../gossip/bucket.ts'

/** About 160,000 atoms a second; a member takes more (inbox.ts), so it never refuses what comes at this pace. */
const PACE = { ratePerS: 4 * 1024 * 1024, burst: 1024 * 1024 }
/** Not more than this of a link's own queue. */
const MOST_BACKLOG_BYTES = 256 * 1024
/** More than these that wait for one member are dropped; digests make up for them. */
const MOST_BYTES = 16 * 1024 * 1024
/** While a link takes no more. */
const RETRY_MS = 5

export interface OutgoingPorts {
  send(member: string, frame: Uint8Array): boolean
  /** Bytes that wait in a link's own queue. */
  backlog(member: string): number
  /** What was dropped has to be made up for: what is to come can be sent again. */
  lost(member: string): void
}

interface Queue {
  readonly frames: Uint8Array[]
  bytes: number
  bucket: Bucket
  /** Something was dropped since it was empty. */
  hasLost: boolean
}

export class Outgoing {
  readonly counters = { frames_out: 0, bytes_out: 0, dropped_full: 0 }
  readonly #ports: OutgoingPorts
  readonly #queues = new Map<string, Queue>()

  constructor(ports: OutgoingPorts) {
    this.#ports = ports
  }

  /** Of the member for which most waits. */
  get mostBytes(): number {
    let most = 0
    for (const { bytes } of this.#queues.values()) most = Math.max(most, bytes)
    return most
  }

  /** @param isUrgent a packet waits for it */
  push(member: string, frame: Uint8Array, isUrgent: boolean, nowMs: number): void {
    if (isUrgent) {
      this.#send(member, frame)
      return
    }
    let queue = this.#queues.get(member)
    if (queue === undefined) {
      queue = { frames: [], bytes: 0, bucket: { tokens: PACE.burst, atMs: nowMs }, hasLost: false }
      this.#queues.set(member, queue)
    }
    if (queue.bytes + frame.length > MOST_BYTES) {
      this.counters.dropped_full++
      queue.hasLost = true
      return
    }
    queue.frames.push(frame)
    queue.bytes += frame.length
  }

  /** Sends what may go now. @returns when to call again; Infinity: nothing waits */
  pump(nowMs: number): number {
    let wakeAtMs = Number.POSITIVE_INFINITY
    for (const [member, queue] of this.#queues)
      wakeAtMs = Math.min(wakeAtMs, this.#pumpOne(member, queue, nowMs))
    return wakeAtMs
  }

  /** Its link is down, or it is no member any more. */
  drop(member: string): void {
    this.#queues.delete(member)
  }

  #pumpOne(member: string, queue: Queue, nowMs: number): number {
    let sent = 0
    let waitMs = 0
    for (const frame of queue.frames) {
      if (this.#ports.backlog(member) > MOST_BACKLOG_BYTES) {
        waitMs = RETRY_MS
        break
      }
      const taken = takeTokens(queue.bucket, 0, nowMs, PACE)
      queue.bucket = taken.bucket
      if (taken.waitMs > 0) {
        waitMs = taken.waitMs
        break
      }
      queue.bucket = takeTokens(queue.bucket, frame.length, nowMs, PACE).bucket
      this.#send(member, frame)
      queue.bytes -= frame.length
      sent++
    }
    queue.frames.splice(0, sent)
    if (queue.frames.length > 0) return nowMs + waitMs
    if (queue.hasLost) {
      queue.hasLost = false
      this.#ports.lost(member)
    }
    return Number.POSITIVE_INFINITY
  }

  #send(member: string, frame: Uint8Array): void {
    if (!this.#ports.send(member, frame)) return
    this.counters.frames_out++
    this.counters.bytes_out += frame.length
  }
}
