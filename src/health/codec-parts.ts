/** What several health messages are made of (codec-format.ts). */
import type { ByteReader, ByteWriter } from './bytes.ts'
import { badHealth } from './codec-error.ts'
import { type TableVersion, TOKEN_BYTES } from './types.ts'

const TOKEN = /^[0-9a-f]{16}$/

/** Host numbers are never 0. */
export const writeHost = (out: ByteWriter, host: number): void => {
  if (host === 0) throw new RangeError('a host number is never 0')
  out.u32(host, 'a host number')
}
export const readHost = (from: ByteReader): number => from.u32() || badHealth('host number 0')

export const writeToken = (out: ByteWriter, token: string): void => {
  if (!TOKEN.test(token)) throw new RangeError(`a token is 16 of 0-9 and a-f, not ${JSON.stringify(token)}`)
  out.bytes(Buffer.from(token, 'hex'))
}
export const readToken = (from: ByteReader): string => from.hex(TOKEN_BYTES)

export const writeVersion = (out: ByteWriter, { instance, generation }: TableVersion): void => {
  out.u32(instance, 'the instance of a table')
  out.u32(generation, 'the generation of a table')
}
export const readVersion = (from: ByteReader): TableVersion => ({
  instance: from.u32(),
  generation: from.u32(),
})

export const writeList = <T>(
  out: ByteWriter,
  items: readonly T[],
  { max, what }: { max: number; what: string },
  write: (item: T, index: number) => void,
): void => {
  if (items.length > max) throw new RangeError(`at most ${max} ${what} a message, not ${items.length}`)
  out.varint(items.length, what)
  items.forEach(write)
}

/** Grows with what is really there: a count alone takes no memory. */
export const readList = <T>(
  from: ByteReader,
  { max, what }: { max: number; what: string },
  read: () => T,
): T[] => {
  const count = from.varint()
  if (count > max) badHealth(`${count} ${what}, at most ${max} are allowed`)
  const items: T[] = []
  for (let i = 0; i < count; i++) items.push(read())
  return items
}
