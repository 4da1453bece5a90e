/**
 * Questions between two linked nodes, each on a stream of its own on the connection that is there (a new stream costs a
 * millisecond, so this is for people's questions, not for traffic).
 *
 *   question: u32 length, 0 to MAX_QUESTION_BYTES, then so many bytes
 *   answer:   u32 length, 1 to 1 + MAX_ANSWER_BYTES, then a status byte (0 answered, 1 failed) and the answer, or the reason in UTF-8
 *
 * Receiver: 1. wait for 4 bytes, refuse a length above the cap; 2. wait for that many bytes; 3. more than that: reset.
 */
import type { AbortOptions, Connection, Stream, StreamMessageEvent } from '@libp2p/interface'
import { errorText, ShuntError } from '../errors.ts'

export const ASK_PROTOCOL = '/shunt/ask/1'
/** At once on one connection, in each direction. */
export const MAX_ASKED = 8
export const MAX_QUESTION_BYTES = 16 * 1024
export const MAX_ANSWER_BYTES = 8 * 1024 * 1024
const MAX_REASON_BYTES = 1024
const LENGTH_BYTES = 4
const PIECE_BYTES = 64 * 1024
/** A question has to be here, and its answer to be taken, within this time (ms). */
const SERVE_TIMEOUT_MS = 15_000

const ANSWERED = 0
const FAILED = 1

/** One whole message. Rejects when the stream ends early, at `signal`, and at a length outside of 0 to `maxBytes`. */
const receive = (stream: Stream, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let held = 0
    let wanted = LENGTH_BYTES
    const settle = (error?: Error): void => {
      stream.removeEventListener('message', read)
      stream.removeEventListener('close', ended)
      stream.removeEventListener('remoteCloseWrite', ended)
      signal.removeEventListener('abort', aborted)
      if (error !== undefined) reject(error)
      else resolve(Buffer.concat(chunks, held).subarray(LENGTH_BYTES))
    }
    const read = ({ data }: StreamMessageEvent): void => {
      chunks.push(data.subarray())
      held += data.byteLength
      if (wanted === LENGTH_BYTES && held >= LENGTH_BYTES) {
        const length = Buffer.concat(chunks, held).readUInt32BE(0)
        if (length > maxBytes) return settle(new Error(`a message of ${length} bytes`))
        wanted = LENGTH_BYTES + length
      } else if (held < LENGTH_BYTES) return
      if (held > wanted) settle(new Error('bytes after the message'))
      else if (held === wanted) settle()
    }
    const ended = (): void => settle(new Error('it ended the exchange'))
    const aborted = (): void => settle(new Error('no answer in time'))
    stream.addEventListener('message', read)
    stream.addEventListener('close', ended)
    stream.addEventListener('remoteCloseWrite', ended)
    signal.addEventListener('abort', aborted)
    if (signal.aborted) aborted()
    else if (stream.status !== 'open') ended()
  })

/** Hands over all bytes in pieces, no faster than the other side takes them. */
const send = async (stream: Stream, parts: Uint8Array[], limits: AbortOptions): Promise<void> => {
  const length = new Uint8Array(LENGTH_BYTES)
  new DataView(length.buffer).setUint32(
    0,
    parts.reduce((sum, part) => sum + part.length, 0),
  )
  for (const part of [length, ...parts])
    for (let at = 0; at < part.length; at += PIECE_BYTES)
      if (!stream.send(part.subarray(at, at + PIECE_BYTES))) await stream.onDrain(limits)
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))

/** Asks over this connection; `name` is for messages. Rejects with SHUNT_ERR_PEER. */
export const ask = async (
  name: string,
  connection: Connection,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<Uint8Array> => {
  if (body.length > MAX_QUESTION_BYTES)
    throw new ShuntError(
      'SHUNT_ERR_PEER',
      `a question to a node is at most ${MAX_QUESTION_BYTES} bytes, not ${body.length}; ask for less at a time`,
    )
  let stream: Stream | undefined
  let answer: Uint8Array
  try {
    stream = await connection.newStream(ASK_PROTOCOL, { signal })
    const received = receive(stream, 1 + MAX_ANSWER_BYTES, signal)
    received.catch(() => {})
    await send(stream, [body], { signal })
    answer = await received
    if (answer.length === 0) throw new Error('an empty answer')
    stream.close().catch(() => {})
  } catch (error) {
    stream?.abort(asError(error))
    throw new ShuntError(
      'SHUNT_ERR_PEER',
      `${name} did not answer (${errorText(error)}); see shunt nodes, and the log of its agent`,
      { cause: error },
    )
  }
  if (answer[0] === ANSWERED) return answer.subarray(1)
  const reason = new TextDecoder().decode(answer.subarray(1, 1 + MAX_REASON_BYTES)).replace(/\p{C}/gu, '?')
  throw new ShuntError('SHUNT_ERR_PEER', `${name} could not answer: ${reason}`)
}

/** Takes one question from a stream and answers it. Rejects when either could not be done; the stream is closed in any case. */
export const serve = async (
  stream: Stream,
  handler: (body: Uint8Array) => Promise<Uint8Array>,
): Promise<void> => {
  const signal = AbortSignal.timeout(SERVE_TIMEOUT_MS)
  try {
    const body = await receive(stream, MAX_QUESTION_BYTES, signal)
    const [status, answer] = await answerOf(handler, body)
    await send(stream, [Uint8Array.of(status), answer], { signal })
    await stream.close({ signal })
  } catch (error) {
    stream.abort(asError(error))
    throw error
  }
}

const failed = (reason: string): [number, Uint8Array] => [
  FAILED,
  new TextEncoder().encode(reason).subarray(0, MAX_REASON_BYTES),
]

const answerOf = async (
  handler: (body: Uint8Array) => Promise<Uint8Array>,
  body: Uint8Array,
): Promise<[number, Uint8Array]> => {
  try {
    const answer = await handler(body)
    return answer.length > MAX_ANSWER_BYTES
      ? failed(`the answer has ${answer.length} bytes, more than ${MAX_ANSWER_BYTES}`)
      : [ANSWERED, answer]
  } catch (error) {
    return failed(errorText(error))
  }
}
