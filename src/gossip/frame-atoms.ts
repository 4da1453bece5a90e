/** The frames of the atom manager (frame-format.ts); what is in a message is for dam/codec.ts. */
import { BODY, bytesOf, frame, unsigned } from './frame-encode.ts'
import { badFrame } from './frame-error.ts'
import {
  ATOM_MEMBER_BYTES,
  type AtomMember,
  type AtomMemberFrame,
  type AtomsFrame,
  FLAG_LEAVING,
  FRAME,
  LENGTH_BYTES,
  MAX_ATOMS_BODY_BYTES,
} from './frame-format.ts'

/** Throws RangeError. For peers of version 5 with a role for it: PeerLinks.send drops it for others. */
export const encodeAtomMember = ({ incarnation, leaving }: AtomMember): Uint8Array => {
  const view = frame(FRAME.ATOM_MEMBER, ATOM_MEMBER_BYTES)
  view.setUint32(BODY, unsigned(incarnation, 32, 'incarnation'))
  view.setUint8(BODY + 4, leaving ? FLAG_LEAVING : 0)
  return bytesOf(view)
}

/** 1 to 262,144 bytes. Throws RangeError. For the same peers. */
export const encodeAtoms = (body: Uint8Array): Uint8Array => {
  if (body.length < 1 || body.length > MAX_ATOMS_BODY_BYTES)
    throw new RangeError(`a message of atoms has 1 to ${MAX_ATOMS_BODY_BYTES} bytes, not ${body.length}`)
  const bytes = bytesOf(frame(FRAME.ATOMS, body.length))
  bytes.set(body, BODY)
  return bytes
}

/** Whether an encoded frame is one of those. */
export const isAtomFrame = (encoded: Uint8Array): boolean =>
  encoded[LENGTH_BYTES] === FRAME.ATOM_MEMBER || encoded[LENGTH_BYTES] === FRAME.ATOMS

/** Throws SHUNT_ERR_FRAME. Unknown flags are a newer peer's and are ignored. */
export const atomMember = (body: DataView): AtomMemberFrame => {
  if (body.byteLength < ATOM_MEMBER_BYTES) badFrame('ATOM_MEMBER cut short')
  const leaving = (body.getUint8(4) & FLAG_LEAVING) !== 0
  return { type: 'atom-member', incarnation: body.getUint32(0), leaving }
}

/** The body is a copy: the reader's buffer is used again. Throws SHUNT_ERR_FRAME. */
export const atoms = (body: DataView): AtomsFrame => {
  if (body.byteLength < 1 || body.byteLength > MAX_ATOMS_BODY_BYTES)
    badFrame(`atoms of ${body.byteLength} bytes`)
  return { type: 'atoms', body: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice() }
}
