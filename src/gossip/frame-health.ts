/** The frame that carries one health message (frame-format.ts); what is in it is for health/codec.ts. */
import { BODY, bytesOf, frame } from './frame-encode.ts'
import { badFrame } from './frame-error.ts'
import { FRAME, type HealthFrame, MAX_HEALTH_BODY_BYTES } from './frame-format.ts'

/** 1 to 262,144 bytes. Throws RangeError. For peers of version 3: PeerLinks.send drops it for others. */
export const encodeHealthFrame = (body: Uint8Array): Uint8Array => {
  if (body.length < 1 || body.length > MAX_HEALTH_BODY_BYTES)
    throw new RangeError(`a health message has 1 to ${MAX_HEALTH_BODY_BYTES} bytes, not ${body.length}`)
  const bytes = bytesOf(frame(FRAME.HEALTH, body.length))
  bytes.set(body, BODY)
  return bytes
}

/** The body is a copy: the reader's buffer is used again. Throws SHUNT_ERR_FRAME. */
export const health = (body: DataView): HealthFrame => {
  if (body.byteLength < 1 || body.byteLength > MAX_HEALTH_BODY_BYTES)
    badFrame(`health of ${body.byteLength} bytes`)
  return { type: 'health', body: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice() }
}
