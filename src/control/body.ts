/** The body of an order: JSON of bounded length. How long it may take is the server's bound (http.ts). */
import type { IncomingMessage } from 'node:http'
import { type Answer, refusal } from './answer.ts'

/** A document has at most 128 kB of text, and JSON may double it. */
export const MAX_BODY_BYTES = 1024 * 1024

const JSON_TYPE = /^application\/json(?:\s*;\s*charset=utf-8)?$/i

const tooLarge = (): Answer => refusal(413, 'too_large', `a body has at most ${MAX_BODY_BYTES} bytes`)

const read = (req: IncomingMessage): Promise<Buffer | undefined> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= MAX_BODY_BYTES) chunks.push(chunk)
      else {
        req.pause()
        resolve(undefined)
      }
    })
    req.on('end', () => resolve(Buffer.concat(chunks)))
    req.on('error', reject)
    req.on('close', () => reject(new Error('the request was cut off')))
  })

/** The parsed body, or why it is refused. Rejects when the asker goes away. */
export const readBody = async (req: IncomingMessage): Promise<{ value: unknown } | Answer> => {
  if (!JSON_TYPE.test(req.headers['content-type'] ?? ''))
    return refusal(415, 'unsupported_media', 'send the body as content-type application/json')
  if (Number(req.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return tooLarge()
  const bytes = await read(req)
  if (bytes === undefined) return tooLarge()
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) }
  } catch {
    return refusal(400, 'refused', 'the body is not JSON in UTF-8')
  }
}
