/** The frame that carries one message about who holds VIPs (frame-format.ts); what is in it is for ownership/codec.ts. */
import { BODY, bytesOf, frame } from './frame-encode.ts'
import { badFrame } from './frame-error.ts'
import { FRAME, MAX_VIPS_BODY_BYTES, type VipsFrame } from './frame-format.ts'

/** 1 to 262,144 bytes. Throws RangeError. For peers of version 5: PeerLinks.send drops it for others. */
export const encodeVipsFrame = (body: Uint8Array): Uint8Array => {
  if (body.length < 1 || body.length > MAX_VIPS_BODY_BYTES)
    throw new RangeError(`a message about VIPs has 1 to ${MAX_VIPS_BODY_BYTES} bytes, not ${body.length}`)
  const bytes = bytesOf(frame(FRAME.VIPS, body.length))
  bytes.set(body, BODY)
  return bytes
}

/** The body is a copy: the reader's buffer is used again. Throws SHUNT_ERR_FRAME. */
export const vips = (body: DataView): VipsFrame => {
  if (body.byteLength < 1 || body.byteLength > MAX_VIPS_BODY_BYTES)
    badFrame(`VIPs of ${body.byteLength} bytes`)
  return { type: 'vips', body: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice() }
}
