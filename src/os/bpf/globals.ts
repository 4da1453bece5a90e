/** Global variables of an object: numbers and bytes at a place in a section. Pure. */

/** As the generated layout modules have them. */
export interface GlobalPlace {
  readonly section: string
  readonly offset: number
  readonly bytes: number
}

/**
 * Writes a variable; numbers little-endian, negative ones as two's complement. Throws RangeError when the value is not exactly
 * as large as the variable (bytes), or does not fit it (numbers).
 */
export const writeGlobal = (
  section: Uint8Array,
  { offset, bytes }: GlobalPlace,
  value: number | bigint | Uint8Array,
): void => {
  if (offset + bytes > section.length)
    throw new RangeError(
      `a variable at ${offset} of ${bytes} bytes is outside of its section of ${section.length}`,
    )
  if (typeof value === 'object') {
    if (value.length !== bytes)
      throw new RangeError(`a variable of ${bytes} bytes cannot be set to ${value.length}`)
    section.set(value, offset)
    return
  }
  const number = BigInt(value)
  const bits = bytes * 8
  if (bytes > 8 || (BigInt.asUintN(bits, number) !== number && BigInt.asIntN(bits, number) !== number))
    throw new RangeError(`${value} does not fit a variable of ${bytes} bytes`)
  for (let index = 0; index < bytes; index++)
    section[offset + index] = Number((number >> BigInt(index * 8)) & 0xffn)
}
