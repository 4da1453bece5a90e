/** The network keys of a node that may know several, while secrets are rotated. Pure. */
import { ShuntError } from '../errors.ts'
import { SECRET_BYTES } from './keys.ts'

/** Throws SHUNT_ERR_IDENTITY unless there is at least one key, and all have 32 bytes. */
export const checkNetworkKeys = (keys: readonly Uint8Array[]): readonly Uint8Array[] => {
  const wrong = keys.find(key => key.length !== SECRET_BYTES)
  if (keys.length === 0 || wrong !== undefined)
    throw new ShuntError(
      'SHUNT_ERR_IDENTITY',
      keys.length === 0
        ? 'a node needs at least one cluster secret; make one with shunt keygen'
        : `a network key is ${SECRET_BYTES} bytes, not ${wrong!.length}; make the cluster secret with shunt keygen`,
    )
  return [...keys]
}

/**
 * The key for the next call after so many failed ones: the first one, and in every second call one of the others in turn, since a
 * peer that was away while the secret was rotated still knows only an earlier one.
 */
export const dialKeyAt = (keys: readonly Uint8Array[], failures: number): Uint8Array => {
  const others = keys.length - 1
  return failures % 2 === 0 || others === 0 ? keys[0]! : keys[1 + (((failures - 1) / 2) % others)]!
}
