/**
 * Writes captured packets in the form that tcpdump -r and Wireshark read (pcapng, draft-ietf-opsawg-pcapng): what became of a packet is
 * its comment. Pure: answers bytes, in the order in which they belong into the file.
 */
import type { CapturedPacket } from '../control/types.ts'

const SECTION = 0x0a0d0d0a
const INTERFACE = 1
const STATISTICS = 5
const PACKET = 6
const BYTE_ORDER = 0x1a2b3c4d
const LINKTYPE_ETHERNET = 1
const OPTION = { end: 0, comment: 1, interfaceName: 2, program: 4, dropped: 5 } as const
/** Of names and comments: they come from elsewhere. */
const MAX_TEXT_BYTES = 200

const padded = (bytes: Uint8Array): Buffer => {
  const buffer = Buffer.alloc((bytes.length + 3) & ~3)
  buffer.set(bytes)
  return buffer
}

const option = (code: number, value: Uint8Array): Buffer => {
  const head = Buffer.alloc(4)
  head.writeUInt16LE(code, 0)
  head.writeUInt16LE(value.length, 2)
  return Buffer.concat([head, padded(value)])
}
const textOption = (code: number, text: string): Buffer =>
  option(code, Buffer.from(text, 'utf8').subarray(0, MAX_TEXT_BYTES))
const END_OPTIONS = option(OPTION.end, new Uint8Array(0))

/** Type, length, body, length again. */
const block = (type: number, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts)
  const frame = Buffer.alloc(12 + body.length)
  frame.writeUInt32LE(type, 0)
  frame.writeUInt32LE(frame.length, 4)
  frame.set(body, 8)
  frame.writeUInt32LE(frame.length, 8 + body.length)
  return frame
}

/** The time stamp of blocks: 64 bits of microseconds, the high half first. */
const words = (...values: readonly number[]): Buffer => {
  const buffer = Buffer.alloc(4 * values.length)
  for (const [i, value] of values.entries()) buffer.writeUInt32LE(value >>> 0, 4 * i)
  return buffer
}
const timeWords = (timeUs: number): [number, number] => [Math.floor(timeUs / 2 ** 32), timeUs % 2 ** 32]

export const commentOf = ({ verdict, reason }: CapturedPacket): string =>
  verdict === null ? '' : `xdp ${verdict}${reason === null || reason === verdict ? '' : `: ${reason}`}`

export class PcapngWriter {
  readonly #snaplen: number
  readonly #interfaces = new Map<string, number>()

  constructor(snaplen: number) {
    this.#snaplen = snaplen
  }

  /** First of all. @param program that wrote it */
  begin(program: string): Buffer {
    const head = Buffer.alloc(16)
    head.writeUInt32LE(BYTE_ORDER, 0)
    head.writeUInt16LE(1, 4)
    // The length of the section is not known.
    head.writeBigInt64LE(-1n, 8)
    return block(SECTION, head, textOption(OPTION.program, program), END_OPTIONS)
  }

  /** Before the first packet of an interface, that interface. */
  packet(packet: CapturedPacket): Buffer {
    const known = this.#interfaces.get(packet.interface)
    const id = known ?? this.#interfaces.size
    const parts = known === undefined ? [this.#interface(packet.interface)] : []
    this.#interfaces.set(packet.interface, id)
    const bytes = Buffer.from(packet.data, 'base64').subarray(0, this.#snaplen)
    const comment = commentOf(packet)
    parts.push(
      block(
        PACKET,
        words(id, ...timeWords(packet.timeUs), bytes.length, Math.max(bytes.length, packet.length)),
        padded(bytes),
        ...(comment === '' ? [] : [textOption(OPTION.comment, comment), END_OPTIONS]),
      ),
    )
    return Buffer.concat(parts)
  }

  #interface(name: string): Buffer {
    const head = Buffer.alloc(8)
    head.writeUInt16LE(LINKTYPE_ETHERNET, 0)
    head.writeUInt32LE(this.#snaplen, 4)
    return block(INTERFACE, head, textOption(OPTION.interfaceName, name), END_OPTIONS)
  }

  /**
   * Last of all: what there was no room for. Of which interface is not known: it stands at the first. A file without packets has one
   * without a packet: readers refuse a file that has none.
   */
  end(lost: number, timeUs: number): Buffer {
    const missing = this.#interfaces.size === 0 ? [this.#interface('any')] : []
    const count = Buffer.alloc(8)
    count.writeBigUInt64LE(BigInt(lost), 0)
    const statistics = block(
      STATISTICS,
      words(0, ...timeWords(timeUs)),
      option(OPTION.dropped, count),
      END_OPTIONS,
    )
    return Buffer.concat([...missing, statistics])
  }
}
