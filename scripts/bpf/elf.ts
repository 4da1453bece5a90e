/** Just enough of ELF (64 bit, little endian) to take sections out of an object file. Pure. */

/** Contents of the named sections; a section without contents (.bss) is zeros. @throws Error when it is no such file */
export const elfSections = (file: Buffer): Map<string, Buffer> => {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1)
    throw new Error('this is not a 64 bit little endian ELF file')
  const at = Number(file.readBigUInt64LE(40))
  const [entryBytes, count, namesIndex] = [58, 60, 62].map(offset => file.readUInt16LE(offset))
  const header = (index: number) => {
    const from = at + index * entryBytes
    return {
      name: file.readUInt32LE(from),
      type: file.readUInt32LE(from + 4),
      offset: Number(file.readBigUInt64LE(from + 24)),
      bytes: Number(file.readBigUInt64LE(from + 32)),
    }
  }
  const names = header(namesIndex).offset
  const NOBITS = 8
  return new Map(
    Array.from({ length: count }, (_, index) => {
      const { name, type, offset, bytes } = header(index)
      const text = file.toString('latin1', names + name, file.indexOf(0, names + name))
      return [text, type === NOBITS ? Buffer.alloc(bytes) : file.subarray(offset, offset + bytes)]
    }),
  )
}
