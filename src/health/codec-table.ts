/** Messages about a host's table on the wire: row changes, snapshots, postulates (codec-format.ts, R-B5, R-B6). */
import type { ByteReader, ByteWriter } from './bytes.ts'
import { badHealth } from './codec-error.ts'
import {
  readHost,
  readList,
  readToken,
  readVersion,
  writeHost,
  writeList,
  writeToken,
  writeVersion,
} from './codec-parts.ts'
import {
  readDirectiveState,
  readId,
  readOperation,
  readRow,
  writeDirectiveState,
  writeId,
  writeOperation,
  writeRow,
} from './codec-rows.ts'
import { chunkOf } from './digest.ts'
import { CHUNKS, type HealthMessage, MAX_OPERATIONS, MAX_ROWS, type Row, type TableVersion } from './types.ts'

type Message<T extends HealthMessage['type']> = Extract<HealthMessage, { type: T }>
type Chunk = Message<'send-snapshot'>['chunks'][number]

const OPERATIONS = { max: MAX_OPERATIONS, what: 'operations' }
const CHUNK_LIST = { max: CHUNKS, what: 'chunks' }
const ROWS = { max: MAX_ROWS, what: 'rows' }
const STATES = { max: MAX_OPERATIONS, what: 'postulated states' }
const DIFFERENCES = { max: MAX_OPERATIONS, what: 'rows that differ' }

export const writeRowChange = (out: ByteWriter, message: Message<'row-change'>): void => {
  writeHost(out, message.host)
  writeTable(out, message)
  writeList(out, message.operations, OPERATIONS, operation => writeOperation(out, operation))
}
export const readRowChange = (from: ByteReader): Message<'row-change'> => ({
  type: 'row-change',
  host: readHost(from),
  ...readTable(from),
  operations: readList(from, OPERATIONS, () => readOperation(from)),
})

export const writeGetSnapshot = (
  out: ByteWriter,
  { host, request, chunks }: Message<'get-snapshot'>,
): void => {
  if (chunks.length !== 0 && chunks.length !== CHUNKS)
    throw new RangeError(`${CHUNKS} digests or none, not ${chunks.length}`)
  writeHost(out, host)
  out.u32(request, 'a request')
  for (const digest of chunks) out.u32(digest, 'a digest')
}
export const readGetSnapshot = (from: ByteReader): Message<'get-snapshot'> => {
  const host = readHost(from)
  const request = from.u32()
  const chunks = from.left === 0 ? [] : Array.from({ length: CHUNKS }, () => from.u32())
  return { type: 'get-snapshot', host, request, chunks }
}

export const writeSendSnapshot = (out: ByteWriter, message: Message<'send-snapshot'>): void => {
  const { host, request, beat, beatMs, leaseBeats, chunks } = message
  if (chunks.reduce((sum, { rows }) => sum + rows.length, 0) > MAX_ROWS)
    throw new RangeError(`a table has at most ${MAX_ROWS} rows`)
  if (beatMs === 0 || leaseBeats === 0) throw new RangeError('beats and leases last at least 1')
  writeHost(out, host)
  out.u32(request, 'a request')
  writeTable(out, message)
  out.u32(beat, 'a beat')
  out.u16(beatMs, 'the time between beats')
  out.u16(leaseBeats, 'the beats of a lease')
  const sorted = [...chunks].sort((a, b) => a.index - b.index)
  writeList(out, sorted, CHUNK_LIST, (chunk, at) => {
    if (chunk.index >= CHUNKS || chunk.index === sorted[at - 1]?.index)
      throw new RangeError(`chunks are 0 to ${CHUNKS - 1}, each once: ${chunk.index}`)
    writeChunk(out, chunk)
  })
}
export const readSendSnapshot = (from: ByteReader): Message<'send-snapshot'> => {
  const host = readHost(from)
  const request = from.u32()
  const table = readTable(from)
  const beat = from.u32()
  const beatMs = from.u16() || badHealth('no time between beats')
  const leaseBeats = from.u16() || badHealth('a lease of no beats')
  let before = -1
  let rows = 0
  const chunks = readList(from, CHUNK_LIST, () => {
    const chunk = readChunk(from, before)
    before = chunk.index
    rows += chunk.rows.length
    if (rows > MAX_ROWS) badHealth(`${rows} rows, at most ${MAX_ROWS} are allowed`)
    return chunk
  })
  return { type: 'send-snapshot', host, request, ...table, beat, beatMs, leaseBeats, chunks }
}

const writeChunk = (out: ByteWriter, { index, rows }: Chunk): void => {
  out.u8(index, 'a chunk')
  const sorted = [...rows].sort((a, b) => a.id - b.id)
  writeList(out, sorted, ROWS, (row, at) => {
    if (chunkOf(row.id) !== index || row.id === sorted[at - 1]?.id)
      throw new RangeError(`row ${row.id} is in chunk ${chunkOf(row.id)}, once, not in ${index}`)
    writeRow(out, row)
  })
}
const readChunk = (from: ByteReader, before: number): Chunk => {
  const index = from.u8()
  if (index <= before || index >= CHUNKS) badHealth(`chunk ${index} after ${before}`)
  let id = 0
  const rows = readList(from, ROWS, (): Row => {
    const row = readRow(from)
    if (row.id <= id || chunkOf(row.id) !== index) badHealth(`row ${row.id} after ${id} in chunk ${index}`)
    id = row.id
    return row
  })
  return { index, rows }
}

export const writePostulate = (out: ByteWriter, message: Message<'postulate'>): void => {
  writeHost(out, message.host)
  writeVersion(out, message.version)
  out.u32(message.postulate, 'a postulate')
  writeList(out, message.states, STATES, ({ id, state }) => {
    writeId(out, id)
    writeDirectiveState(out, state)
  })
}
export const readPostulate = (from: ByteReader): Message<'postulate'> => ({
  type: 'postulate',
  host: readHost(from),
  version: readVersion(from),
  postulate: from.u32(),
  states: readList(from, STATES, () => ({ id: readId(from), state: readDirectiveState(from) })),
})

export const writePostulateWrong = (out: ByteWriter, message: Message<'postulate-wrong'>): void => {
  writeHost(out, message.host)
  out.u32(message.postulate, 'a postulate')
  writeList(out, message.differs, DIFFERENCES, id => writeId(out, id))
}
export const readPostulateWrong = (from: ByteReader): Message<'postulate-wrong'> => ({
  type: 'postulate-wrong',
  host: readHost(from),
  postulate: from.u32(),
  differs: readList(from, DIFFERENCES, () => readId(from)),
})

type Table = { readonly version: TableVersion; readonly anchor: string; readonly anchorBeat: number }

const writeTable = (out: ByteWriter, { version, anchor, anchorBeat }: Table): void => {
  writeVersion(out, version)
  writeToken(out, anchor)
  out.u32(anchorBeat, 'a beat')
}
const readTable = (from: ByteReader): Table => ({
  version: readVersion(from),
  anchor: readToken(from),
  anchorBeat: from.u32(),
})
