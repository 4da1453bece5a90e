/** Cuts a byte stream into frames, however the bytes were chopped up on their way. */
import { decodeFrame } from './frame-decode.ts'
import { badFrame } from './frame-error.ts'
import { type DecodedFrame, LENGTH_BYTES, MAX_FRAME_BYTES } from './frame-format.ts'

const INITIAL_BYTES = 512
/** A larger buffer is given back once its frame is complete. */
const KEPT_BYTES = 16 * 1024

/**
 * Incremental reader; holds at most one frame that is not complete. After it has thrown SHUNT_ERR_FRAME every
 * further push throws too: the boundaries of the frames are lost.
 */
export class FrameReader {
  /** Frames of types that this version does not know, skipped. */
  skipped = 0
  #held = new Uint8Array(0)
  #length = 0
  #broken = false

  /** Bytes held of a frame that is not complete. */
  get heldBytes(): number {
    return this.#length
  }

  /** Takes more bytes (any amount) and answers the frames that they complete. Throws SHUNT_ERR_FRAME. */
  push(bytes: Uint8Array): DecodedFrame[] {
    if (this.#broken) badFrame('bytes after an invalid frame')
    try {
      return this.#read(bytes)
    } catch (error) {
      this.#broken = true
      this.#held = new Uint8Array(0)
      this.#length = 0
      throw error
    }
  }

  #read(bytes: Uint8Array): DecodedFrame[] {
    const frames: DecodedFrame[] = []
    let at = 0
    // What is held is first completed, byte for byte only as far as its own frame goes.
    while (this.#length > 0 && at < bytes.length) {
      const wanted = this.#length < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + this.#frameLength(this.#held)
      const taken = Math.min(wanted - this.#length, bytes.length - at)
      this.#hold(bytes.subarray(at, at + taken))
      at += taken
      if (this.#length < wanted) continue
      if (wanted === LENGTH_BYTES) {
        this.#frameLength(this.#held)
        continue
      }
      this.#decode(this.#held.subarray(LENGTH_BYTES, wanted), frames)
      this.#length = 0
      if (this.#held.length > KEPT_BYTES) this.#held = new Uint8Array(0)
    }
    while (bytes.length - at >= LENGTH_BYTES) {
      const end = at + LENGTH_BYTES + this.#frameLength(bytes.subarray(at))
      if (end > bytes.length) break
      this.#decode(bytes.subarray(at + LENGTH_BYTES, end), frames)
      at = end
    }
    if (at < bytes.length) this.#hold(bytes.subarray(at))
    return frames
  }

  #frameLength(bytes: Uint8Array): number {
    const length = ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0
    if (length < 1 || length > MAX_FRAME_BYTES) badFrame(`frame of impossible length ${length}`)
    return length
  }

  #decode(content: Uint8Array, frames: DecodedFrame[]): void {
    const frame = decodeFrame(content)
    if (frame === undefined) this.skipped++
    else frames.push(frame)
  }

  #hold(bytes: Uint8Array): void {
    const length = this.#length + bytes.length
    if (length > this.#held.length) {
      const grown = new Uint8Array(Math.max(INITIAL_BYTES, this.#held.length * 2, length))
      grown.set(this.#held.subarray(0, this.#length))
      this.#held = grown
    }
    this.#held.set(bytes, this.#length)
    this.#length = length
  }
}
