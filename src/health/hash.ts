import { hash } from 'node:crypto'

/** SHA-256 of bytes, or of text as UTF-8. */
export const sha256 = (data: Uint8Array | string): Buffer => hash('sha256', data, 'buffer')

/** The u32 that stands for a text: the first 4 bytes of its SHA-256, or the next that is not taken; never 0. */
export const freeNumber = (text: string, taken: (number: number) => boolean): number =>
  freeFrom(sha256(text).readUInt32BE(0), taken)

/** `start`, `start + 1`, … (after 2^32 - 1 comes 1) until one is not taken. */
export const freeFrom = (start: number, taken: (number: number) => boolean): number => {
  let number = start === 0 ? 1 : start
  while (taken(number)) number = number === 0xffff_ffff ? 1 : number + 1
  return number
}
